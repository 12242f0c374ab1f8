/** K10, D10: today's daemon gets from a shim of each recorded version what the daemon of that day got (see transcripts/). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shimProtocolVersion } from '../../src/daemon/shim/protocol.ts';
import type { Json } from '../../src/shared/worker.ts';
import { RecordedShim } from '../helpers/recorded-shim.ts';
import { Sandbox } from '../helpers/sandbox.ts';
import { scenarios } from '../helpers/shim-scenarios.ts';
import { DaemonStage } from '../helpers/shim-stage.ts';
import { differences, readTranscript, recordings, sessionsOf, transcripts } from '../helpers/transcript.ts';

test.each(recordings(shimProtocolVersion))('version %i: %s', async (version, name) => {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`there is a transcript of ${name}, but no such scenario`);
  const recorded = JSON.parse(readFileSync(join(transcripts(version), `${name}.results.json`), 'utf8')) as Json;
  await using box = new Sandbox();
  await using shim = new RecordedShim(box.home, sessionsOf(readTranscript(version, name)));
  await using stage = new DaemonStage(box, shim, scenario);
  await shim.listen();
  await stage.startDaemon();
  await scenario.drive(stage);
  await shim.settled();
  expect(shim.faults).toEqual([]);
  const bindings = new Map<string, Json>([['<path:home>', box.home]]);
  expect(differences(recorded, stage.steps, { bindings, values: true })).toEqual([]);
});
