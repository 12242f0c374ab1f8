/** One hop more: parses each line that comes on descriptor 4 and passes it on, on descriptor 5. */
import { Socket } from 'node:net';

const from = new Socket({ fd: 4, readable: true, writable: false });
const to = new Socket({ fd: 5, readable: false, writable: true });
let rest = '';
from.setEncoding('utf8');
from.on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  if (lines.length > 0) to.write(lines.map((line) => `${JSON.stringify(JSON.parse(line))}\n`).join(''));
});
process.on('disconnect', () => process.exit(0));
