/** The machine around: the clock, programs of our names on PATH, systemd's units. */
import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { ClockFacts, FoundProgram, Unit } from './facts.ts';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

export const lookAtClock = (): ClockFacts => {
  const now = Date.now();
  const bootSeconds = /^btime (\d+)/m.exec(read('/proc/stat'))?.[1];
  const upSeconds = /^([\d.]+)/.exec(read('/proc/uptime'))?.[1];
  const sinceBootMs = upSeconds === undefined ? null : Number(upSeconds) * 1000;
  const kernelNow = bootSeconds === undefined || sinceBootMs === null ? null : Number(bootSeconds) * 1000 + sinceBootMs;
  return { now, kernelNow, sinceBootMs };
};

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

/** The nearest package.json above it, with one of the names that matter here. */
const packageOf = (path: string): { readonly name: string; readonly version: string } | null => {
  for (let at = dirname(path), depth = 0; depth < 4 && at !== dirname(at); at = dirname(at), depth += 1) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(at, 'package.json'), 'utf8')) as Record<string, unknown>;
      if (typeof name === 'string') return { name, version: String(version) };
    } catch {
      // Not here.
    }
  }
  return null;
};

const classify = (name: FoundProgram['name'], path: string, own: string): FoundProgram => {
  let real = path;
  try {
    real = realpathSync(path);
  } catch {
    // Gone between two looks.
  }
  if (dirname(real) === own) return { name, path, kind: 'ours', version: null };
  const found = packageOf(real);
  if (found?.name === 'workerctl') return { name, path, kind: 'install', version: found.version };
  // The runtime's npm package, and the packages with its binaries for each platform.
  const isRuntime = found?.name === 'workerd' || found?.name.startsWith('@cloudflare/workerd') === true;
  return { name, path, kind: isRuntime ? 'runtime' : 'unknown', version: found?.version ?? null };
};

/** `own`: the directory of the programs that this one belongs to. */
export const lookForPrograms = (pathVariable: string | undefined, own: string): readonly FoundProgram[] => {
  const directories = [...new Set((pathVariable ?? '').split(':'))].filter(isAbsolute);
  return (['workerctl', 'workerd'] as const).flatMap((name) =>
    directories.flatMap((directory) => {
      const path = join(directory, name);
      return isProgram(path) ? [classify(name, path, own)] : [];
    }),
  );
};

const systemdWithinMs = 2000;
const unitNames = ['workerd-shim.service', 'workerd.service'];

/** Empty where systemd does not run, or knows no such units. */
export const lookAtUnits = async (
  uid: number,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly Unit[]> => {
  const { execFile } = process.getBuiltinModule('node:child_process');
  const manager = uid === 0 ? [] : ['--user'];
  const properties = '--property=Id,LoadState,UnitFileState,ActiveState';
  const said = await new Promise<string>((resolve) => {
    execFile(
      'systemctl',
      [...manager, 'show', properties, ...unitNames],
      { timeout: systemdWithinMs, env: { ...env }, killSignal: 'SIGKILL' },
      (error, stdout) => resolve(error === null ? stdout : ''),
    );
  });
  return readUnits(said);
};

export const readUnits = (said: string): readonly Unit[] =>
  said
    .split('\n\n')
    .map((block) => new Map(block.split('\n').map((line) => line.split('=', 2) as [string, string])))
    .filter((unit) => unit.get('LoadState') === 'loaded')
    .map((unit) => ({
      name: unit.get('Id') ?? '',
      enabled: unit.get('UnitFileState')?.startsWith('enabled') === true,
      active: unit.get('ActiveState') === 'active',
      state: unit.get('ActiveState') ?? 'unknown',
    }));
