/**
 * The daemon is killed and started again while 1, 50 and 500 workers live: from the start command until `status` has all
 * of them as running, with the pids they had.
 */
import { connect } from '../src/shared/client.ts';
import { Bed } from './bed.ts';
import { alternate, report } from './measure.ts';
import { pidsOf } from './proc.ts';

const counts = [1, 50, 500] as const;

/** Name and pid of each that runs. */
const running = async (bed: Bed): Promise<ReadonlyMap<string, number | null>> => {
  const client = await connect({ home: bed.home });
  try {
    const found = new Map<string, number | null>();
    let after: string | undefined;
    do {
      const page = await client.call('status', after === undefined ? {} : { after });
      for (const { name, phase, pid } of page.workers) if (phase === 'running') found.set(name, pid);
      after = page.next ?? undefined;
    } while (after !== undefined);
    return found;
  } finally {
    client.close();
  }
};

const killAndStart = async (bed: Bed): Promise<number> => {
  const before = await running(bed);
  const { pid } = await bed.client.call('daemon.info', {});
  const began = await killed(bed, pid);
  await bed.start();
  for (;;) {
    const now = await running(bed);
    if ([...before].every(([name, own]) => now.get(name) === own)) return performance.now() - began;
  }
};

/** Returns when it is gone: what is measured begins then. */
const killed = async (bed: Bed, pid: number): Promise<number> => {
  process.kill(pid, 'SIGKILL');
  while (pidsOf(bed.home).includes(pid)) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now();
};

export const run = async (rounds: number): Promise<void> => {
  const beds: Bed[] = [];
  try {
    const cases: Record<string, () => Promise<number>> = {};
    for (const count of counts) {
      const bed = await Bed.make();
      beds.push(bed);
      await bed.startMany(count);
      cases[`${count} living`] = () => killAndStart(bed);
    }
    const goals = { '500 living': '≤ 1000 ms' };
    report('kill -9 of the daemon, then from its start until all are there, ms', await alternate(rounds, cases), goals);
  } finally {
    for (const bed of beds) await bed[Symbol.asyncDispose]();
  }
};
