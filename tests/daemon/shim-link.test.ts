/** The line to the shim against a stand-in on a real socket: what is acknowledged, and what is asked for again. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Fact } from '../../src/daemon/shim/protocol.ts';
import { ShimLink, type ShimLinkOptions } from '../../src/daemon/shim-link.ts';
import { systemClock } from '../../src/daemon/system.ts';
import { Gate } from '../../src/shared/gate.ts';
import { resolvePlaces } from '../../src/shared/paths.ts';
import { Peer } from '../../src/shared/peer.ts';
import { eventually } from '../helpers/eventually.ts';
import { FakeProcessTable } from '../helpers/fake-process-table.ts';

const fact = (seq: number): Fact => ({ seq, run: `w.${seq}.aa`, at: 0, kind: 'ready' });

let directory: string;
let server: Server;
let link: ShimLink;
let peer: Peer<null> | null = null;
/** Of the stand-in: another one is another shim. */
let startTime = 1;
const kept = new Map<number, Fact>();
const acknowledged: number[] = [];
const heard: number[] = [];
const missed: string[] = [];

const tell = (...facts: readonly Fact[]): void => {
  for (const each of facts) {
    kept.set(each.seq, each);
    peer?.notify('fact', each);
  }
};

const linkIn = (
  home: string,
  { known = null, ...options }: Partial<ShimLinkOptions> & { known?: string | null } = {},
) => {
  const meta = new Map<string, string>(known === null ? [] : [['shim', known]]);
  return new ShimLink({
    places: resolvePlaces({ home, env: {}, uid: 1 }),
    command: null,
    env: {},
    clock: systemClock,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    processes: new FakeProcessTable(),
    store: { meta: (key) => meta.get(key) ?? null, setMeta: (key, value) => void meta.set(key, value) },
    listener: {
      facts: (facts) => heard.push(...facts.map(({ seq }) => seq)),
      state() {},
      connected() {},
      told() {},
      lost() {},
      notReached: (why) => void missed.push(why),
      remark() {},
    },
    ...options,
  });
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'wd-link-'));
  const places = resolvePlaces({ home: directory, env: {}, uid: 1 });
  const gate = new Gate<null>({
    methods: {
      hello: () => ({ protocol: 1, version: 'stand-in', pid: process.pid, startTime }),
      list: () => ({ runs: [], seq: 0 }),
      facts: (params) => {
        const { after } = params as { after: number };
        for (const each of kept.values()) if (each.seq > after) peer?.notify('fact', each);
        return {};
      },
      ack: (params) => {
        const { upTo } = params as { upTo: number };
        acknowledged.push(upTo);
        for (const seq of kept.keys()) if (seq <= upTo) kept.delete(seq);
        return {};
      },
    },
    onFault: (_method, error) => String(error),
  });
  server = createServer({ allowHalfOpen: true }, (socket) => {
    peer = new Peer<null>({ socket, gate, session: null });
  });
  await new Promise<void>((resolve) => server.listen(places.shimSocket, resolve));
  link = linkIn(directory);
  await link.start();
});

afterEach(() => {
  link.close();
  peer?.destroy('the test is over');
  server.close();
  rmSync(directory, { recursive: true, force: true });
  kept.clear();
  acknowledged.length = 0;
  heard.length = 0;
  missed.length = 0;
  startTime = 1;
});

it('facts are handed on once and in order, and acknowledged when told so', async () => {
  tell(fact(1), fact(2));
  await eventually(() => heard.length === 2);
  link.acknowledge(2);
  await eventually(() => acknowledged.includes(2));
  expect(heard).toEqual([1, 2]);
});

it('while a commit is refused nothing later is taken or acknowledged; then all of it is asked for again', async () => {
  tell(fact(1));
  await eventually(() => heard.length === 1);
  // The commit with fact 1 was refused; fact 2 comes before it is asked for again, and others are acknowledged.
  link.refuse();
  tell(fact(2));
  link.acknowledge(2);
  await link.call('list', {});
  expect({ heard, acknowledged }).toEqual({ heard: [1], acknowledged: [] });
  link.retell();
  await eventually(() => heard.length === 3);
  expect(heard).toEqual([1, 1, 2]);
  link.acknowledge(2);
  await eventually(() => acknowledged.includes(2));
});

it('another shim is heard from its first fact on, wherever its numbers begin', async () => {
  tell(fact(10));
  await eventually(() => heard.includes(10));
  link.acknowledge(10);
  await eventually(() => kept.size === 0);
  const reconnected = async () => {
    const lost = peer;
    lost?.destroy('the test cuts it');
    await eventually(() => peer !== lost && link.settled);
  };
  startTime = 2;
  await reconnected();
  tell(fact(3));
  await eventually(() => heard.includes(3));
  // The same one tells what it still has, and that is known.
  await reconnected();
  tell(fact(4));
  await eventually(() => heard.includes(4));
  expect(heard).toEqual([10, 3, 4]);
});

it('D15: a thousand losses of the connection leak no descriptor, and each time it is there again', async () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let loss = 0; loss < 1000; loss += 1) {
    const lost = peer;
    lost?.destroy('the test cuts it');
    await eventually(() => peer !== lost && link.connected, { what: `connection ${loss + 2}` });
  }
  tell(fact(1));
  await eventually(() => heard.includes(1));
  await eventually(() => descriptors() <= before + 2, { what: 'the descriptors are back' });
}, 60_000);

it('one that lives and cannot be reached is waited for, but nobody waits to be served', async () => {
  const processes = new FakeProcessTable();
  processes.put({ pid: 7, startTime: 100 });
  const known = JSON.stringify({ pid: 7, startTime: 100, bootId: processes.bootId });
  const home = join(directory, 'another');
  mkdirSync(home);
  const unreached = linkIn(home, { command: ['false'], processes, known });
  void unreached.start();
  await unreached.silence;
  unreached.close();
  expect(new Set(missed)).toEqual(
    new Set([`${home}/shim.sock cannot be reached (ENOENT), and its process may be there`]),
  );
});

it('what is garbled in the registry of which shim it is says nothing', () => {
  const { known } = linkIn(directory, { known: 'garbled' });
  expect([known.identity, known.isDead]).toEqual([null, true]);
});
