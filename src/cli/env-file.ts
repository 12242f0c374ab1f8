/** `--env-file`: KEY=VALUE lines as docker, systemd and dotenv agree on them. Pure; says the line of a mistake. */
import { usage } from './values.ts';

/** Comments, blank lines, `export `, and one pair of quotes around a value; within double quotes `\n`, `\"`, `\\`. */
export const parseEnvFile = (text: string, path: string): Readonly<Record<string, string>> => {
  const env = Object.create(null) as Record<string, string>;
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const match = /^(?:export\s+)?([^\s=]+)\s*=\s*(.*)$/.exec(line);
    if (match?.[1] === undefined) throw usage(`--env-file: ${path}, line ${index + 1}: not of the form KEY=VALUE`);
    env[match[1]] = unquoted(match[2] ?? '', `${path}, line ${index + 1}`);
  }
  return env;
};

const unquoted = (text: string, where: string): string => {
  const quote = text.charAt(0);
  if (quote !== '"' && quote !== "'") return text.replace(/\s+#.*$/, '');
  const match = quote === '"' ? /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(text) : /^'([^']*)'\s*(?:#.*)?$/.exec(text);
  if (match === null) throw usage(`--env-file: ${where}: the quote is not closed`);
  const inner = match[1] ?? '';
  return quote === '"' ? inner.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char)) : inner;
};
