/** `workerctl doctor`: looks at all that the daemon stands on, and says what to do. */
import { exitCodes } from '../../shared/errors.ts';
import { isWell, judge } from '../doctor/checks.ts';
import { gather } from '../doctor/gather.ts';
import { doctorText } from '../render/doctor.ts';
import type { Verb } from '../run.ts';

export const doctor: Verb = {
  spec: {
    usage: '[options]',
    summary: 'Look for what is wrong around the daemon, and say what to do.',
    details:
      'Looks at the daemon and its shim, the home and who can reach it, disk, clock, limits, and what else is on PATH. Works with the daemon up, down or hung. Only looks: it starts, changes and mends nothing.',
    options: [],
    examples: [
      ['workerctl doctor', 'a line for each: ok, warn or fail, and what to do'],
      ['workerctl doctor --home /srv/jobs', 'of another daemon'],
      ['workerctl doctor --json', 'for scripts: "checks", each with name, level, message and advice, and "ok"'],
    ],
    minOperands: 0,
    maxOperands: 0,
  },
  run: async (context) => {
    const checks = judge(await gather(context));
    const { style, width, json, quiet } = context;
    const ok = isWell(checks);
    if (json) context.result({ checks, ok });
    else if (!quiet) context.io.stdout.write(doctorText(checks, { style, width }));
    return ok ? exitCodes.done : exitCodes.failed;
  },
};
