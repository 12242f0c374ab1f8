/** The machine under the daemon: file system, disk, clock, limits. Pure: facts in, lines out. */
import { bytesText, durationText, timeText } from '../render/text.ts';
import { type Check, fail, ok, orOk, shellWord, warn } from './check.ts';
import { type Facts, isEntry, type ProcessFacts } from './facts.ts';

const elsewhere =
  'Keep the home where nothing is cleaned up, such as ~/.local/state/workerd: unset WORKERD_HOME, or --home';

/** Where files vanish, or a lock does not hold. */
export const checkFileSystem = (facts: Facts): readonly Check[] => {
  const { mount, home } = facts.home;
  const { home: path } = facts.places;
  if (mount === null) return [];
  const where = `${mount.type} at ${mount.point}`;
  if (!isEntry(home) && home.error === 'not looked at') {
    return [
      fail(
        'file-system',
        `${path} is on a network file system (${where}): the lock that keeps daemons apart does not hold there`,
        'Use a local disk: choose another home with --home or WORKERD_HOME. Nothing in it was looked at',
      ),
    ];
  }
  if (mount.readOnly) {
    return [
      fail(
        'file-system',
        `${path} is on a file system that is mounted read-only (${where})`,
        `See why (dmesg), then: mount -o remount,rw ${shellWord(mount.point)}`,
      ),
    ];
  }
  const temporary = temporaryPlaces(facts).find((place) => path === place || path.startsWith(`${place}/`));
  if (temporary !== undefined) {
    return [warn('file-system', `${path} is below ${temporary}, where files are removed by age or at boot`, elsewhere)];
  }
  if (mount.type === 'tmpfs' || mount.type === 'ramfs') {
    return [warn('file-system', `${path} is in memory (${where}): all is gone at the next boot`, elsewhere)];
  }
  return [ok('file-system', where)];
};

const temporaryPlaces = ({ env }: Facts): readonly string[] => {
  const named = [env['TMPDIR'], env['XDG_RUNTIME_DIR']].map((place) => place?.replace(/\/+$/, '') ?? '');
  return ['/tmp', '/var/tmp', '/dev/shm', ...named.filter((place) => place.startsWith('/'))];
};

const mebibyte = 1024 * 1024;
/** A commit of the registry takes some kilobytes; the log of one worker up to 50 MiB, as it comes. */
const [noRoomBytes, littleRoomBytes] = [mebibyte, 100 * mebibyte];
const [noInodes, fewInodes] = [16, 1000];

export const checkDisk = (facts: Facts): readonly Check[] => {
  const { space, mount } = facts.home;
  if (space === null) return [];
  const { freeBytes, allBytes, freeInodes, allInodes } = space;
  const where = mount?.point ?? facts.places.home;
  const share = allBytes === 0 ? '' : `, ${Math.floor((100 * freeBytes) / allBytes)} %`;
  const left = `${bytesText(freeBytes)} of ${bytesText(allBytes)} left${share}, at ${where}`;
  const room = `See what takes it: du -xh ${shellWord(where)} | sort -h | tail. Logs of a worker are forgotten with it: workerctl rm NAME`;
  const faults: Check[] = [];
  if (freeBytes < noRoomBytes)
    faults.push(fail('disk', `no room: ${left}; starts are refused, output is dropped`, room));
  else if (freeBytes < Math.min(littleRoomBytes, allBytes / 4)) faults.push(warn('disk', `little room: ${left}`, room));
  if (allInodes > 0 && freeInodes < noInodes) {
    faults.push(
      fail(
        'disk',
        `no inodes: ${freeInodes} of ${allInodes} left at ${where}; no file can be made`,
        `Remove files; most are below: du -x --inodes ${shellWord(where)} | sort -n | tail`,
      ),
    );
  } else if (allInodes > 0 && freeInodes < Math.min(fewInodes, allInodes / 4)) {
    faults.push(
      warn(
        'disk',
        `few inodes: ${freeInodes} of ${allInodes} left at ${where}`,
        `Remove files; most are below: du -x --inodes ${shellWord(where)} | sort -n | tail`,
      ),
    );
  }
  return orOk(faults, ok('disk', left));
};

const [earliest, latest] = [Date.parse('2025-01-01T00:00:00Z'), Date.parse('2100-01-01T00:00:00Z')];
const toleratedMs = 60_000;
/** The kernel tells the time of its start in whole seconds. */
const bootToleratedMs = 5000;

export const checkClock = (facts: Facts): readonly Check[] => {
  const { clock, home, reach, processes } = facts;
  const { now, kernelNow, sinceBootMs } = clock;
  const at = (ms: number) => (Math.abs(ms) > 8.64e15 ? 'never' : timeText(new Date(ms).toISOString()));
  const set =
    'Set it: timedatectl set-ntp true (or date -s). Running workers and waits are not affected: they go by another clock';
  const faults: Check[] = [];
  if (now < earliest || now > latest)
    faults.push(fail('clock', `it is ${at(now)} by this machine's clock, which cannot be`, set));
  if (kernelNow !== null && Math.abs(now - kernelNow) > bootToleratedMs) {
    const by = durationText(Math.abs(now - kernelNow));
    faults.push(
      fail(
        'clock',
        `this process is told ${at(now)}, the kernel has ${at(kernelNow)}: ${by} apart`,
        'Something gives programs another time (libfaketime?): unset LD_PRELOAD FAKETIME, also for the daemon',
      ),
    );
  }
  const newest = home.files
    .filter(isEntry)
    .reduce<{ path: string; changedAt: number } | null>(
      (found, entry) => (found !== null && found.changedAt >= entry.changedAt ? found : entry),
      null,
    );
  if (newest !== null && newest.changedAt - now > toleratedMs) {
    const by = durationText(newest.changedAt - now);
    faults.push(
      fail(
        'clock',
        `${newest.path} was written at ${at(newest.changedAt)}, ${by} from now: the clock was set back`,
        set,
      ),
    );
  }
  // The daemon wrote down when it started; its process has an age that no clock is set by.
  const startedAt = reach.kind === 'answers' ? reach.info.startedAt : undefined;
  if (startedAt !== undefined && processes.daemon !== null && sinceBootMs !== null && reach.kind === 'answers') {
    const ageMs = sinceBootMs - processes.daemon.startedAfterBootMs;
    // One that replaced itself is younger than its process, and never older.
    const jumpedMs = Date.parse(startedAt) + ageMs - now;
    const older = now - Date.parse(startedAt) - ageMs;
    if (older > toleratedMs)
      faults.push(warn('clock', `it was set forward by ${durationText(older)} since the daemon started`, set));
    else if (Date.parse(startedAt) - now > toleratedMs)
      faults.push(warn('clock', `it was set back by ${durationText(jumpedMs)} since the daemon started`, set));
  }
  return orOk(faults, ok('clock', `${at(now)}, as the kernel and the files in the home have it`));
};

const [nearlyAll, many] = [0.95, 0.8];
/** Descriptors that a worker takes in the daemon and in the shim. */
const descriptorsOfWorker = 4;
const fewDescriptors = 256;

const descriptorFaults = (who: string, { pid, openFiles, openedFiles }: ProcessFacts): readonly Check[] => {
  const { soft, hard } = openFiles;
  if (soft === null) return [];
  const higher = `Start the daemon under a higher limit: ulimit -Hn, LimitNOFILE= in its unit`;
  const used = openedFiles === null ? null : openedFiles / soft;
  const have = `${who} (pid ${pid}) has ${openedFiles ?? '?'} of ${soft} open`;
  const fewer = `Close clients (watch, logs -f) or stop workers. ${higher}`;
  if (used !== null && used >= nearlyAll)
    return [fail('descriptors', `${have}: clients and starts are refused`, fewer)];
  if (used !== null && used >= many)
    return [warn('descriptors', `${have}: soon clients and starts are refused`, fewer)];
  if (soft < fewDescriptors) {
    const room = Math.max(0, Math.floor((soft - (openedFiles ?? 0)) / descriptorsOfWorker));
    const harder = hard === null || hard > soft ? ` (hard limit ${hard ?? 'none'})` : '';
    return [
      warn(
        'descriptors',
        `${who} (pid ${pid}) may open ${soft} files${harder}: enough for some ${room} more workers or clients`,
        higher,
      ),
    ];
  }
  return [];
};

export const checkDescriptors = ({ processes }: Facts): readonly Check[] => {
  const { daemon, shims } = processes;
  const all = [
    ...(daemon === null ? [] : [['the daemon', daemon] as const]),
    ...shims.map((shim) => ['the shim', shim] as const),
  ];
  if (all.length === 0) return [];
  const words = all.map(
    ([who, { openedFiles, openFiles }]) => `${who} ${openedFiles ?? '?'} of ${openFiles.soft ?? 'any number'}`,
  );
  return orOk(
    all.flatMap(([who, facts]) => descriptorFaults(who, facts)),
    ok('descriptors', words.join(', ')),
  );
};

export const checkProcesses = ({ processes, uid }: Facts): readonly Check[] => {
  const { daemon, shims, threads } = processes;
  // The shim is who starts workers.
  const parent = shims[0] ?? daemon;
  if (parent === null || parent === undefined) return [];
  const faults: Check[] = [];
  const { soft } = parent.processes;
  const user = parent.uid === uid ? 'you have' : `uid ${parent.uid} has`;
  const things = 'processes and threads';
  const end = 'End some, or raise the limit (ulimit -u, TasksMax= of the unit), then restart the daemon';
  // The kernel counts threads, and lets root pass.
  if (soft !== null && parent.uid !== 0 && threads >= soft * many) {
    const words = `${user} ${threads} of ${soft} ${things}`;
    faults.push(
      threads >= soft * nearlyAll
        ? fail('processes', `${words}: starts fail`, end)
        : warn('processes', `${words}: soon starts fail`, end),
    );
  }
  const { group } = parent;
  if (group !== null && group.now >= group.max * many) {
    const words = `the control group ${group.path} has ${group.now} of ${group.max} ${things}`;
    faults.push(
      group.now >= group.max * nearlyAll
        ? fail('processes', `${words}: starts fail`, end)
        : warn('processes', `${words}: soon starts fail`, end),
    );
  }
  const most = [soft !== null && parent.uid !== 0 ? soft : null, group?.max ?? null].filter((limit) => limit !== null);
  const limit = most.length === 0 ? ', and no limit holds' : ` of ${Math.min(...most)}`;
  return orOk(faults, ok('processes', `${user} ${threads} ${things}${limit}`));
};
