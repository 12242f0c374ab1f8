/** A run's state in the shim, where a new shim has asked the worker to say again what holds. */
import { expect, test } from 'vitest';
import { PublishedState, parseUpLine } from '../../src/daemon/shim/control.ts';

test('what a worker had heard undoes nothing that was passed on to it since', () => {
  const state = new PublishedState(1000);
  state.takeOver({ own: 1, told: 7 }, 1);
  state.passOn({ told: 9 }, 2);
  for (const message of parseUpLine(Buffer.from('{"state":{"own":2},"heard":{"told":8,"other":3,"__proto__":4}}'))) {
    if (message.kind === 'state') state.take(message, 3);
  }
  expect(Object.entries(state.value ?? {})).toEqual([
    ['own', 2],
    ['told', 9],
    ['other', 3],
    ['__proto__', 4],
  ]);
  const { revision } = state;
  state.take({ patch: { told: 8 }, heard: true }, 4);
  expect(state.revision, 'nothing new').toBe(revision);
  state.take({ patch: { told: 10 } }, 5);
  expect(state.value?.['told'], 'what it publishes itself is the newest').toBe(10);
});
