/**
 * A definition as a client writes it, and what is captured with it: schemas that fill in the defaults. Of the protocol's
 * table (protocol.ts), and as that one for the daemon alone.
 */
import { constants } from 'node:os';
import * as z from 'zod';
import { limits } from './limits.ts';
import { resourceNames, type SoftLimits } from './resource-limits.ts';
import type { Json, JsonObject } from './worker.ts';

export const text = (maxLength: number) => z.string().max(maxLength);
const noNul = (value: string) => !value.includes('\0');
const mostMs = 2 ** 31 - 1;
export const milliseconds = z.number().int().min(0).max(mostMs);
export const json: z.ZodType<Json> = z.json() as z.ZodType<Json>;
export const jsonObject: z.ZodType<JsonObject> = z.record(z.string(), json);
const absolutePath = text(4096).regex(/^\//, 'must be an absolute path').refine(noNul, 'must not contain NUL');
const argument = z
  .string()
  .refine(noNul, 'must not contain NUL')
  .refine((value) => Buffer.byteLength(value) < limits.maxStringBytes, 'must be shorter than 128 KiB');
/** With or without its `SIG`. */
export const signal = z
  .string()
  .refine(
    (name) => Object.hasOwn(constants.signals, `SIG${name.replace(/^SIG/, '')}`),
    'must be a signal, such as TERM',
  )
  .transform((name) => `SIG${name.replace(/^SIG/, '')}`);
const umask = z.number().int().min(0).max(0o777);

const environmentBytes = (env: Readonly<Record<string, string>>): number =>
  Object.entries(env).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value) + 2, 0);
const environment = z
  .record(
    z
      .string()
      .min(1, 'must not be empty or contain = or NUL')
      .refine((key) => noNul(key) && !key.includes('='), 'must not be empty or contain = or NUL'),
    argument,
  )
  .refine((env) => environmentBytes(env) <= limits.maxEnvironmentBytes, 'must be at most 512 KiB in sum');

/** As getrlimit(2) has them, in the kernel's own units; null: unlimited. */
const softLimit = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().optional();
export const softLimits = z.strictObject(
  Object.fromEntries(resourceNames.map((name) => [name, softLimit])),
) as unknown as z.ZodType<SoftLimits, SoftLimits>;

export const caller = z.strictObject({
  env: environment,
  cwd: absolutePath,
  umask,
  limits: softLimits.optional(),
});

/** Handed to a worker in one string of its environment. */
const params = json.refine(
  (value) => Buffer.byteLength(JSON.stringify(value)) < limits.maxStringBytes - 64,
  'must be shorter than 128 KiB as JSON',
);

const specBase = {
  params: params.default({}),
  env: environment.default({}),
  inheritEnv: z.boolean().default(true),
  cwd: absolutePath.nullable().default(null),
  umask: umask.nullable().default(null),
  user: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, 'must be a user name')
    .nullable()
    .default(null),
  restart: z.strictObject({ policy: z.enum(['no', 'on-failure', 'always']).default('no') }).prefault({}),
  graceMs: milliseconds.default(10_000),
  stopSignal: signal.prefault('SIGTERM'),
  stdin: z.boolean().default(false),
  ready: z
    .strictObject({ by: z.literal('worker') })
    .nullable()
    .default(null),
  log: z
    .strictObject({
      maxBytes: z
        .number()
        .int()
        .min(1024)
        .max(2 ** 40)
        .default(10 * 1024 * 1024),
      files: z.number().int().min(1).max(1000).default(5),
    })
    .prefault({}),
};

const commandSpec = z.strictObject({
  kind: z.literal('command'),
  command: z
    .array(argument)
    .min(1)
    .max(100_000)
    .refine((argv) => argv[0] !== '', 'must name a program')
    .refine(
      (argv) => argv.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0) <= limits.maxEnvironmentBytes,
      'must be at most 512 KiB in sum',
    ),
  ...specBase,
});
const moduleSpec = z.strictObject({
  kind: z.enum(['thread', 'process']),
  module: absolutePath,
  export: text(256).min(1).refine(noNul, 'must not contain NUL').default('default'),
  ...specBase,
});
export const spec = z.discriminatedUnion('kind', [commandSpec, moduleSpec]);

export type SpecInput = z.input<typeof spec>;
export type CallerInput = z.input<typeof caller>;
