/** `workerctl status --json` beside an empty Node, with 1 and with 200 workers. */
import { Bed, emptyNode } from './bed.ts';
import { alternate, report } from './measure.ts';

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  for (const count of [1, 200]) {
    await bed.startMany(count);
    const results = await alternate(rounds, {
      'node -e 0': emptyNode,
      'status --json': () => bed.workerctl('status', '--json'),
    });
    report(`status, ${count} ${count === 1 ? 'worker' : 'workers'}, ms`, results, { 'status --json': '≤ 1.35' });
  }
};
