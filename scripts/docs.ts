/**
 * docs/protocol.md, made from what `rpc.discover` answers and the prose here. `npm run docs` writes it; a test fails
 * where it is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildDocument, type ContentDescriptor, type MethodObject } from '../src/daemon/openrpc.ts';
import { alternativesOf, type Form, inWords, propertiesOf, type Schema } from '../src/daemon/openrpc-schema.ts';

const root = join(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const document = buildDocument(version);
const { schemas, errors } = document.components;
const limits = document['x-limits'];

const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-');
const link = (heading: string): string => `[${heading}](#${anchor(heading)})`;
const code = (text: string): string => `\`${text}\``;
const form: Form = {
  noun: (name) => (name === 'Json' ? 'any JSON value' : name === 'JsonObject' ? 'a JSON object' : link(name)),
  code,
  member: (name, schema) => {
    const fallback = Object.hasOwn(schema, 'default') ? ` (default ${code(JSON.stringify(schema['default']))})` : '';
    return `${code(name)}: ${inWords(schema, form)}${fallback}`;
  },
};
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
const kibibytes = (bytes: number): string =>
  bytes >= 1024 * 1024 ? `${bytes / (1024 * 1024)} MiB` : `${bytes / 1024} KiB`;

// ── shapes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const words = (schema: Schema): string =>
  inWords(schema, form).replace('a time such as 2026-01-02T03:04:05Z', 'a time');
const defaultOf = (schema: Schema): string =>
  Object.hasOwn(schema, 'default') ? code(JSON.stringify(schema['default'])) : '';
const requiredOf = (schema: Schema): readonly string[] => (schema['required'] ?? []) as string[];
const descriptionOf = (schema: Schema): string => String(schema['description'] ?? '');

const membersTable = (schema: Schema, input: boolean): string => {
  const rows = Object.entries(propertiesOf(schema)).map(([member, property]) => {
    const required = requiredOf(schema).includes(member);
    const fallback = required ? 'required' : defaultOf(property);
    const optional = !input && !required ? ' (may be missing)' : '';
    return [code(member), `${words(property)}${optional}`, ...(input ? [fallback] : []), descriptionOf(property)];
  });
  return table(['member', 'is', ...(input ? ['default'] : []), ''], rows);
};

/** What tells one alternative from the others. */
const tellTale = (schema: Schema): string => {
  const [member, property] =
    Object.entries(propertiesOf(schema)).find(
      ([, each]) => Object.hasOwn(each, 'const') || Array.isArray(each['enum']),
    ) ?? [];
  return member === undefined || property === undefined ? '' : `${code(member)} is ${inWords(property, form)}`;
};

const nounSection = (name: string): string => {
  const schema = schemas[name];
  if (schema === undefined) throw new Error(`no schema of ${name}`);
  const input = schema['additionalProperties'] === false || name === 'SpecInput';
  const alternatives = alternativesOf(schema);
  const body =
    alternatives.length === 0
      ? membersTable(schema, input)
      : alternatives
          .map(
            (each) =>
              `Where ${tellTale(each)}${descriptionOf(each) === '' ? '' : ` (${descriptionOf(each)})`}:\n\n${membersTable(each, input)}`,
          )
          .join('\n\n');
  return `### ${name}\n\n${[descriptionOf(schema), body].filter((text) => text !== '').join('\n\n')}`;
};

/** Unions whose alternatives have few members of their own: a row each. */
const unionSection = (name: string, common: readonly string[], tell: string, rowWords: (value: string) => string) => {
  const schema = schemas[name];
  if (schema === undefined) throw new Error(`no schema of ${name}`);
  const rows = alternativesOf(schema).map((each) => {
    const value = String(propertiesOf(each)[tell]?.['const']);
    const own = Object.entries(propertiesOf(each)).filter(([member]) => member !== tell && !common.includes(member));
    const optional = (member: string) => (requiredOf(each).includes(member) ? '' : ', may be missing');
    const members = own
      .map(([member, property]) => `${code(member)}: ${words(property)}${optional(member)}`)
      .join(', ');
    return [code(value), members, rowWords(value) || descriptionOf(each)];
  });
  return table([code(tell), 'with', ''], rows);
};

// ── methods ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A worker is told once, as a noun; in examples its name and phase do. */
const json = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) => {
    if (typeof each !== 'object' || each === null || !Object.hasOwn(each, 'phase')) return each;
    const { name, phase } = each as { name: string; phase: string };
    return { name, phase, '…': 0 };
  }).replaceAll('"…":0', '…');
const paramRow = ({ name, description, required, schema }: ContentDescriptor): readonly string[] => [
  code(name),
  words(schema),
  required ? 'required' : defaultOf(schema),
  description ?? '',
];

const methodSection = (method: MethodObject): string => {
  const { name, summary, description, params, result } = method;
  const parts = [`### ${name}`, [summary, description].filter((text) => text !== undefined).join(' ')];
  if (params.length === 0) parts.push('No params.');
  else parts.push(table(['param', 'is', 'default', ''], params.map(paramRow)));
  const members = Object.entries(propertiesOf(result.schema));
  if (name === 'rpc.discover') parts.push('Result: the OpenRPC document, an object.');
  else {
    const shown = members.map(([member, property]) => {
      const what = descriptionOf(property);
      const optional = requiredOf(result.schema).includes(member) ? '' : ', may be missing';
      return `- ${code(member)}: ${words(property)}${optional}${what === '' ? '' : ` — ${what}`}`;
    });
    parts.push(`Result:\n\n${shown.join('\n')}`);
  }
  const common = document.methods.find((each) => each.name === 'hello')?.errors.map(({ $ref }) => $ref) ?? [];
  const own = method.errors.map(({ $ref }) => $ref).filter((ref) => !common.includes(ref));
  if (own.length > 0) {
    parts.push(`Errors: ${own.map((ref) => code(ref.slice('#/components/errors/'.length))).join(', ')}.`);
  }
  for (const example of method.examples ?? []) {
    const given = Object.fromEntries(example.params.map(({ name: member, value }) => [member, value]));
    const request = json({ jsonrpc: '2.0', id: 1, method: name, params: given });
    parts.push(
      `Example, ${example.name}:\n\n\`\`\`json\n${request}\n${json({ jsonrpc: '2.0', id: 1, result: example.result.value })}\n\`\`\``,
    );
  }
  return parts.join('\n\n');
};

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const limitRows: readonly (readonly [string, string, string])[] = [
  [
    'one message, either way',
    kibibytes(limits.maxFrameBytes),
    'one error -32600, then the connection is closed; an answer that would be longer is `limit.exceeded`',
  ],
  ['nesting of arrays and objects', `${limits.maxDepth} levels`, '-32700'],
  ['a batch', `${limits.maxBatch} requests`, 'one error -32600, and nothing of it is done'],
  [
    'a line that was begun must end',
    `within ${limits.unfinishedFrameMs / 1000} s`,
    'one error -32600, then the connection is closed',
  ],
  [
    'requests in work on a connection',
    String(limits.maxInFlight),
    'it is not read further until one is done; nothing is lost',
  ],
  [
    'held requests on a connection',
    String(limits.maxHeld),
    '`limit.exceeded` for the one too many; the connection goes on',
  ],
  ['held requests of all connections', String(limits.maxHeldInAll), '`limit.exceeded` for the one too many'],
  ['subscriptions of a connection', String(limits.maxSubscriptions), '`limit.exceeded`'],
  ['subscriptions of all connections', String(limits.maxSubscriptionsInAll), '`limit.exceeded`'],
  ['answers that are not read', kibibytes(limits.maxUnreadBytes), 'the connection is cut'],
  [
    'what is not read and lines that are not ended, of all connections',
    kibibytes(limits.maxBytesInAll),
    'the connection that holds most for longest is cut, with one error `limit.exceeded` where it reads',
  ],
  ['connections', String(limits.maxConnections), 'one error `limit.exceeded`, then closed'],
  ['published state, as JSON', kibibytes(limits.maxStateBytes), 'refused'],
  ["a function's result, as JSON", kibibytes(limits.maxResultBytes), 'refused'],
  ['environment and arguments of a worker', kibibytes(limits.maxEnvironmentBytes), '-32602'],
  ['one string of them', kibibytes(limits.maxStringBytes), '-32602'],
];

const errorRows = (Object.keys(errors) as (keyof typeof errors)[]).map((word) => {
  const { code: number, message, data } = errors[word];
  return [code(word), String(number), data.retry ? 'yes' : 'no', String(document['x-exit-codes'][word]), message];
});
const held = document.methods.filter((method) => method['x-held']).map(({ name }) => code(name));
const eventCommon = ['subscription', 'cursor', 'at', 'name', 'generation'];
const eventTypes = document['x-notifications'][0]?.['x-types'];

export const pythonExample = `import json, os, socket

sock = socket.socket(socket.AF_UNIX)
sock.connect(os.environ.get("WORKERD_SOCKET") or os.path.expanduser("~/.local/state/workerd/workerd.sock"))
lines = sock.makefile("rw", encoding="utf-8", newline="\\n")

def call(method, **params):
    lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\\n")
    lines.flush()
    answer = json.loads(lines.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"]["message"])
    return answer["result"]

call("start", name="greeter", spec={"kind": "command", "command": ["/bin/sh", "-c", "echo hello; exit 7"]})
worker = call("wait", name="greeter", **{"for": "exit"})["worker"]
print(worker["exit"], [entry["line"] for entry in call("logs", name="greeter")["entries"]])
call("remove", name="greeter")`;

const session = `$ rpc() { printf '%s\\n' "$1" | socat -t 30 - "UNIX-CONNECT:$WORKERD_SOCKET"; }
$ rpc '{"jsonrpc":"2.0","id":1,"method":"start","params":{"name":"sleeper","spec":{"kind":"command","command":["/bin/sleep","1000"]}}}'
{"jsonrpc":"2.0","id":1,"result":{"outcome":"started","worker":{"name":"sleeper","kind":"command","phase":"running",…}}}
$ rpc '{"jsonrpc":"2.0","id":2,"method":"start","params":{"name":"sleeper"}}'
{"jsonrpc":"2.0","id":2,"result":{"outcome":"already-running",…}}
$ rpc '[{"jsonrpc":"2.0","id":3,"method":"daemon.info"},{"jsonrpc":"2.0","id":4,"method":"history","params":{"name":"sleeper"}}]'
[{"jsonrpc":"2.0","id":3,"result":{"version":"…","protocol":1,…}},{"jsonrpc":"2.0","id":4,"result":{"runs":[]}}]
$ rpc '{"jsonrpc":"2.0","id":5,"method":"stop","params":{"name":"sleeper","graceMs":"2s"}}'
{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"invalid params: graceMs: must be a whole number from 0 to 2147483647",…}}
$ rpc '{"jsonrpc":"2.0","id":6,"method":"stop","params":{"name":"sleeper","graceMs":2000}}'
{"jsonrpc":"2.0","id":6,"result":{"outcome":"stopped",…}}`;

export const protocolPage = (): string => `# The protocol of workerd

*Generated by \`npm run docs\` from the one table that the daemon checks requests with; do not edit. The same for
programs, as an [OpenRPC](https://spec.open-rpc.org) document: \`workerctl rpc rpc.discover\`.*

The daemon listens on a Unix socket: \`<home>/workerd.sock\` (root's default: \`/run/workerd/workerd.sock\`);
\`workerctl daemon status\` prints its path, and a worker finds it in \`$WORKERD_SOCKET\`. **Who can use the socket can run code
as the daemon's user**, so it has mode 0600 in a directory of mode 0700.

## Framing and limits

[JSON-RPC 2.0](https://www.jsonrpc.org/specification), one message a line (\`\\n\`; \`\\r\\n\` and blank lines are accepted), UTF-8,
both ways. Notifications and batches are allowed. Params go by name; unknown members are refused, so that a misspelt one
is not taken for a default. No params at all may be left out, or be \`{}\` or \`[]\`. What is answered may get more members with later versions: ignore those you do not know.
An id is a string, null or an integer within ±(2^53 − 1).

${table(['what', 'at most', 'beyond it'], limitRows)}

## A connection's life

Connect, ask, read. Nothing needs to be said first. Requests are carried out at once, side by side; answers come as they
are done, told apart by their id, and those of a batch together, in its order. ${held.slice(0, -1).join(', ')} and
${held.at(-1)} are *held*: they are answered when it has happened, and nobody else waits for them meanwhile. Send a
request and shut your end down (\`SHUT_WR\`): what is due is still answered, then the daemon closes. A request that was
begun is carried out, whether you stay or not; a \`wait\` or a subscription ends with its connection. HTTP is not spoken:
such a connection is closed without a word, and nothing in it is carried out.

${code('hello')} may be sent at any time, also again, or never: it declares who asks, for \`startedBy\` and \`stoppedBy\`, and
tells the version. What it declares is shown, not proven.

## A session

With \`socat\`, in a shell that knows where the socket is (\`WORKERD_SOCKET\`):

\`\`\`console
${session}
\`\`\`

In Python, with nothing but its standard library:

\`\`\`python
${pythonExample}
\`\`\`

## Methods

Any of them may answer ${code('usage')} (-32602), ${code('limit.exceeded')} or ${code('internal')} (-32603, a bug); what else it may answer is said below. See [Errors](#errors).

${document.methods.map(({ name, summary }) => `- ${link(name)}: ${summary}`).join('\n')}

${document.methods.map(methodSection).join('\n\n')}

## Events

After \`watch\`, and after \`logs\` with \`follow\`, the daemon sends notifications:

\`\`\`json
{"jsonrpc":"2.0","method":"event","params":{"subscription":"s1","cursor":"3f2a-8","at":"2026-01-02T03:04:05.678Z","type":"ready","name":"sleeper","generation":1}}
\`\`\`

Each has ${eventCommon.map(code).join(', ')} and \`type\`:

${unionSection('Event', eventCommon, 'type', (type) => eventTypes?.[type as keyof typeof eventTypes] ?? '')}

**Order.** The answer that names the subscription comes first, then a \`snapshot\` of each worker, then each change, once,
in the order it happened: of one run \`starting\`, \`running\`, and \`exited\`, \`failed\` or \`stopped\`. Its log lines come before
the \`phase\` that ends it. A change is told when it can no longer be lost.

**Reading slowly.** Of \`state\` only the newest is kept. If too much else piles up it is dropped, and said: \`gap\`, then
snapshots anew.

**Cursors.** Each event has one. Those of \`watch\` live as long as the daemon: after a lost connection, the last one as
\`since\` brings what was missed. Where the daemon does not know that any more — another lifetime's, or too long ago, or
lines were asked for too — \`gap\` comes, then the snapshots: what ended meanwhile is in them and in \`history\`, and a worker
of which no snapshot comes is gone. The cursor of \`logs\` and of the \`log\` events that it brings is \`GENERATION:OFFSET\` (with a
second offset where stderr's is another): a place in the log files, which outlives the run and the daemon. \`logs {cursor}\`
goes on from there. Cursors are to be handed back as they are, not to be counted with.

## Errors

The codes of the specification, and our own. \`data.code\` is the word to look at, \`data.retry\` tells whether the same request
may succeed later. The exit code is that of \`workerctl\`.

${table(['`data.code`', 'code', 'retry', 'exit code', ''], errorRows)}

Of a message that is no request there is no word, only the code: -32700 (not JSON, not UTF-8, nested too deep), -32600 (no
request, too long, too many in a batch), -32601 (no such method).

## Nouns

${['SpecInput', 'Caller', 'SoftLimits', 'WorkerView', 'Spec', 'Actor', 'Leftover', 'Run', 'LogEntry', 'Problem'].map(nounSection).join('\n\n')}

### Exit

${descriptionOf(schemas['Exit'] ?? {})}

${unionSection('Exit', [], 'kind', () => '')}

### Event

See [Events](#events).
`;

if (import.meta.main) writeFileSync(join(root, 'docs', 'protocol.md'), protocolPage());
