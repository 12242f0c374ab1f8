/** What a shim has not taken is said to the next one, or again: a module that is to stop has to hear of it. */
import { expect, test } from 'vitest';
import { Ender } from '../../src/daemon/ender.ts';
import type { Hosts } from '../../src/daemon/hosts.ts';
import { Sweeper } from '../../src/daemon/sweeper.ts';
import { connectionLost, WorkerdError } from '../../src/shared/errors.ts';
import { FakeClock, turns } from '../helpers/fake-clock.ts';
import { FakeProcessTable } from '../helpers/fake-process-table.ts';
import { FakeShim } from '../helpers/fake-shim.ts';
import { runIn } from '../helpers/fake-worker.ts';

class UnsettledShim extends FakeShim {
  isSettled = true;
  override get settled(): boolean {
    return this.connected && this.isSettled;
  }
}

const made = () => {
  const clock = new FakeClock();
  const shim = new UnsettledShim(clock);
  const processes = new FakeProcessTable();
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const ender = new Ender({ shim, hosts: {} as Hosts, processes, sweeper: new Sweeper(processes), clock, log });
  const run = runIn('running', { kind: 'process' });
  const asked = () => ender.ask(run, { reason: 'stop', deadline: '', by: null });
  return { clock, shim, ender, run, asked };
};

test('one that has just come, and does not know of the run yet, is told once it does', async () => {
  const { shim, ender, asked } = made();
  shim.isSettled = false;
  shim.onOrder = () => {
    throw new WorkerdError('worker.not-found', 'the shim knows of no run w.1.aa');
  };
  await asked();
  shim.isSettled = true;
  shim.onOrder = () => {};
  ender.sayAgain();
  expect(shim.all('down')).toHaveLength(2);
  await turns();
  ender.sayAgain();
  expect(shim.all('down'), 'said').toHaveLength(2);
});

test('one that stood still until it was killed took nothing', async () => {
  const { clock, shim, ender, asked } = made();
  const lost = Promise.withResolvers<void>();
  shim.onOrder = () => lost.promise;
  const asking = asked();
  await clock.run(2000);
  await asking;
  lost.reject(connectionLost('it was killed'));
  await turns();
  shim.onOrder = () => {};
  ender.sayAgain();
  expect(shim.all('down')).toHaveLength(2);
});

test('one that stood still for long and took it is not told again; nor is one of a run that is over, or unknown', async () => {
  const { clock, shim, ender, run, asked } = made();
  const taken = Promise.withResolvers<void>();
  shim.onOrder = () => taken.promise;
  const asking = asked();
  await clock.run(2000);
  await asking;
  taken.resolve();
  await turns();
  shim.connected = false;
  await asked();
  ender.forget(run);
  shim.connected = true;
  shim.onOrder = () => {
    throw new WorkerdError('worker.not-found', 'the shim knows of no run w.1.aa');
  };
  await asked();
  ender.sayAgain();
  expect(shim.all('down')).toHaveLength(2);
});
