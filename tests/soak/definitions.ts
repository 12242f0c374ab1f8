/** Definitions of workers that count lines, as the library and as the command line say them. */
import { join } from 'node:path';
import type { SpecInput } from '../../src/shared/protocol.ts';
import type { Kind, RestartPolicy, Spec } from '../../src/shared/worker.ts';
import type { Chance } from './chance.ts';

export interface Definition {
  readonly kind: Kind;
  readonly policy: RestartPolicy;
  readonly graceMs: number;
  readonly burst: number;
  readonly pauseMs: number;
  /** It ends by itself after so many; 0: never. */
  readonly lines: number;
  readonly end: string;
  readonly stopEnd: string;
  readonly heeds: boolean;
  readonly logBytes: number;
  readonly directory: string;
}

const program = (ending: string): string => join(import.meta.dirname, 'workers', `counts-lines.${ending}`);

export interface DefinitionOptions {
  readonly directory: string;
  /** Lines a second of one worker. */
  readonly rate: number;
  /** Some end by themselves. */
  readonly mayEnd: boolean;
}

export const drawDefinition = (chance: Chance, { directory, rate, mayEnd }: DefinitionOptions): Definition => {
  const kind = chance.weighted({ command: 4, thread: 4, process: 2 }) as Kind;
  const pauseMs = chance.pick([20, 50, 100, 200]);
  const ownEnd = (): string => {
    if (kind === 'command') return `code ${chance.between(0, 255)}`;
    return chance.pick(['returned', 'error', `code ${chance.between(0, 255)}`]);
  };
  const code = (): string =>
    kind === 'command' ? `code ${chance.between(0, 255)}` : chance.pick(['returned', 'code 9']);
  return {
    kind,
    policy: chance.pick(['no', 'on-failure', 'always'] as const),
    graceMs: chance.pick([300, 1000, 3000]),
    burst: Math.max(1, Math.round((rate * pauseMs) / 1000)),
    pauseMs,
    lines: mayEnd && chance.is(0.3) ? chance.between(1, rate * 8) : 0,
    end: ownEnd(),
    stopEnd: code(),
    heeds: chance.is(0.85),
    logBytes: chance.is(0.2) ? 16 * 1024 : 10 * 1024 * 1024,
    directory,
  };
};

const argvOf = (definition: Definition): readonly string[] => {
  const { directory, burst, pauseMs, lines, end, stopEnd, heeds } = definition;
  const code = (text: string) => text.split(' ')[1] ?? '0';
  const numbers = [burst, pauseMs / 1000, lines].map(String);
  return ['sh', program('sh'), directory, ...numbers, code(end), code(stopEnd), String(heeds)];
};
const paramsOf = ({ directory, burst, pauseMs, lines, end, stopEnd, heeds }: Definition) => ({
  directory,
  burst,
  pauseMs,
  lines,
  end,
  stopEnd,
  heeds,
});

export const specOf = (definition: Definition): SpecInput => {
  const { kind, policy, graceMs, logBytes } = definition;
  const common = { restart: { policy }, graceMs, log: { maxBytes: logBytes, files: 3 } };
  return kind === 'command'
    ? { kind, command: [...argvOf(definition)], ...common }
    : { kind, module: program('mjs'), params: paramsOf(definition), ...common };
};

/** What `workerctl start` is told of it. */
export const flagsOf = (
  definition: Definition,
): { readonly flags: readonly string[]; readonly what: readonly string[] } => {
  const { kind, policy, graceMs, logBytes } = definition;
  const flags = ['--restart', policy, '--grace', `${graceMs}ms`, '--log-size', `${logBytes}B`, '--log-files', '3'];
  if (kind === 'command') return { flags, what: ['--', ...argvOf(definition)] };
  const params = JSON.stringify(paramsOf(definition));
  return { flags: [...flags, `--${kind}`, '--params', params], what: [program('mjs')] };
};

/** A worker's definition is this one. */
export const isDefinedAs = (spec: Spec, definition: Definition): boolean => {
  const { kind, policy, graceMs, logBytes } = definition;
  if (spec.kind !== kind || spec.restart.policy !== policy) return false;
  if (spec.graceMs !== graceMs || spec.log.maxBytes !== logBytes || spec.log.files !== 3) return false;
  return spec.kind === 'command'
    ? JSON.stringify(spec.command) === JSON.stringify(argvOf(definition))
    : JSON.stringify(sorted(spec.params)) === JSON.stringify(sorted(paramsOf(definition)));
};

const sorted = (params: unknown): unknown =>
  Object.fromEntries(Object.entries(params as object).sort(([left], [right]) => (left < right ? -1 : 1)));
