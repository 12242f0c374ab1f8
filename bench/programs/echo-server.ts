/** A bare NDJSON server: parses each line and answers it, the answers of one read in one write. */
import { createServer } from 'node:net';

const [path = ''] = process.argv.slice(2);
const result = { protocol: 1, version: '0.0.0', pid: process.pid };

createServer((connection) => {
  let rest = '';
  connection.setEncoding('utf8');
  connection.on('error', () => {});
  connection.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    let answers = '';
    for (const line of lines) {
      const { id } = JSON.parse(line) as { id: number };
      answers += `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`;
    }
    if (answers !== '') connection.write(answers);
  });
}).listen({ path }, () => process.send?.('ready'));
process.on('disconnect', () => process.exit(0));
