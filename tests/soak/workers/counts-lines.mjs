// Prints numbered, checksummed lines, and writes each into a file of its own first, with what it publishes, what it is
// sent, and how it is about to end; counts-lines.sh is the same as a command.
import { openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const pads = ['.'.repeat(77), 'é', '', '-'.repeat(29), '-'.repeat(29)];

export default async (ctx) => {
  const { directory, burst, pauseMs, lines, end, stopEnd, heeds } = ctx.params;
  const own = openSync(`${directory}/${process.env.WORKERD_RUN}`, 'a');
  const note = (text) => writeSync(own, `${text}\n`);
  note('begin');
  const leave = (how) => {
    note(`end ${how}`);
    if (how === 'returned') return { n };
    if (how === 'error') throw new Error('as it was told');
    process.exit(Number(how.split(' ')[1]));
  };
  (async () => {
    for await (const message of ctx.messages) note(`got ${message}`);
  })();
  let n = 0;
  for (;;) {
    for (const until = n + burst; n < until; ) {
      n += 1;
      const line = `${n} ${ctx.generation} ${pads[n % 5]} ${(n * 31 + ctx.generation * 17) % 9973}`;
      const isError = n % 7 === 0;
      note(`${isError ? 'E' : 'O'} ${line}`);
      if (isError) console.error(`E ${line}`);
      else console.log(`O ${line}`);
      if (n === lines) return leave(end);
    }
    note(`pub ${n}`);
    ctx.publish({ n });
    if (heeds && ctx.shouldStop()) return leave(stopEnd);
    await sleep(pauseMs, undefined, heeds ? { signal: ctx.signal } : {}).catch(() => {});
    if (heeds && ctx.shouldStop()) return leave(stopEnd);
  }
};
