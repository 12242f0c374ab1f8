/**
 * Loads a user's module and finds the function in it. What goes wrong is said in words that name the file, the reason
 * and the next step; what the module itself throws is passed on as it is.
 */
import { readFileSync, statSync } from 'node:fs';
import { enableCompileCache, registerHooks, stripTypeScriptTypes } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Json, WorkerContext } from './contract.ts';

export type LoadedFunction = (ctx: WorkerContext<Json>) => unknown;

const endings = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];
const fromSource = import.meta.url.endsWith('.ts');
const sdkUrl = new URL(fromSource ? './contract.ts' : `./worker${extname(import.meta.url)}`, import.meta.url).href;
const sdkFormat = fromSource ? 'module-typescript' : 'module';

export const loadWorker = async (path: string, exportName: string): Promise<LoadedFunction> => {
  checkFile(path);
  const home = process.env['WORKERD_HOME'];
  // Where the home belongs to another user nothing is cached, and nothing is lost but a little time.
  if (home !== undefined && home !== '') enableCompileCache(join(home, 'cache'));
  let lastUrl = pathToFileURL(path).href;
  registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier === 'workerctl/worker') return { url: sdkUrl, format: sdkFormat, shortCircuit: true };
      const resolved = next(specifier, context);
      lastUrl = resolved.url;
      return resolved;
    },
  });
  let namespace: Readonly<Record<string, unknown>>;
  try {
    namespace = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw explain(error, path, lastUrl);
  }
  return findExport(namespace, exportName, path);
};

class LoadError extends Error {
  override name = 'LoadError';
}

const checkFile = (path: string): void => {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new LoadError(`there is no file ${path}. Check the path of the module`);
  if (!stat.isFile())
    throw new LoadError(`${path} is not a file. Name the module's file, e.g. ${join(path, 'index.js')}`);
  if (!endings.includes(extname(path))) {
    throw new LoadError(
      `${path} is not a module: its name ends in none of ${endings.join(' ')}. A program is started with: workerctl start -- ${path}`,
    );
  }
};

/** CommonJS counts too: `module.exports = fn`, `exports.name = fn`, and `exports.default = fn` as compilers write it. */
const findExport = (namespace: Readonly<Record<string, unknown>>, name: string, path: string): LoadedFunction => {
  const common = 'module.exports' in namespace ? namespace['module.exports'] : undefined;
  const members = isObject(common) ? common : {};
  const found = [name === 'default' ? undefined : namespace[name], members[name], namespace[name]];
  const worker = found.find((value) => typeof value === 'function');
  if (worker !== undefined) return worker as LoadedFunction;
  const other = found.find((value) => value !== undefined);
  const names = new Set([...Object.keys(namespace), ...Object.keys(members)]);
  names.delete('module.exports');
  names.delete('__esModule');
  if (isObject(common)) names.delete('default');
  if (Object.hasOwn(members, 'default')) names.add('default');
  const what =
    other !== undefined && names.has(name)
      ? `the export '${name}' of ${path} is not a function but ${kindOf(other)}`
      : `the module ${path} has no export '${name}'; it exports: ${[...names].slice(0, 20).join(', ') || 'nothing'}`;
  const example = name === 'default' ? 'export default async (ctx) => …' : `export const ${name} = async (ctx) => …`;
  throw new LoadError(`${what}. Write \`${example}\`, or name another export with MODULE#EXPORT`);
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  (typeof value === 'object' && value !== null) || typeof value === 'function';

const kindOf = (value: unknown): string =>
  value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;

const explain = (error: unknown, path: string, lastUrl: string): unknown => {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX':
      return worded(
        error,
        `${fileOf(lastUrl)} has TypeScript that Node cannot run as it is: ${error.message}${frame(error)}\n` +
          'Node only strips types. Enums, namespaces with code, parameter properties and `export =` need a compiler: ' +
          'write a const object instead of the enum, or compile the module and start the .js ' +
          '(tsc reports such syntax with "erasableSyntaxOnly": true)',
      );
    case 'ERR_INVALID_TYPESCRIPT_SYNTAX':
      return worded(error, `${fileOf(lastUrl)} does not parse: ${error.message}${frame(error)}`);
    case 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING':
      return worded(
        error,
        `${fileOf(lastUrl)} is TypeScript inside node_modules, which Node refuses to run. ` +
          'Use a package that ships JavaScript, or move the file out of node_modules (a linked package counts as outside)',
      );
    case 'ERR_MODULE_NOT_FOUND':
    case 'MODULE_NOT_FOUND':
      return worded(
        error,
        `${path} cannot be loaded: ${firstLine(error.message)}. ` +
          'Install the package where the module lies (npm install), or correct the import; relative imports need their ending',
      );
    case 'ERR_UNKNOWN_FILE_EXTENSION':
      return worded(error, `${path} cannot be loaded: ${error.message}. Node runs ${endings.join(' ')}`);
    default:
      return error instanceof SyntaxError && isFromNode(error) ? explainSyntax(error, lastUrl) : error;
  }
};

/** The name is kept, the stack follows the words. */
const worded = (error: Error, message: string): Error => {
  const explained = error instanceof SyntaxError ? new SyntaxError(message) : new LoadError(message);
  explained.stack = `${explained.name}: ${message}\n${framesOf(error)}`;
  return explained;
};

const framesOf = (error: Error): string =>
  (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n');

const firstLine = (text: string): string => text.split('\n')[0] ?? text;

/** Where Node put file, line and a caret before the error's own text. */
const frame = (error: Error): string => {
  const stack = error.stack ?? '';
  const end = stack.indexOf(`\n\n${error.name}`);
  return end > 0 ? `\n${stack.slice(0, end)}` : '';
};

/** Not a SyntaxError that the module's own code met (JSON.parse, new Function). */
const isFromNode = (error: Error): boolean => {
  const first = framesOf(error).split('\n')[0] ?? '';
  return first.includes('node:internal/') || first.includes('node:vm');
};

/** V8 does not say where in an ES module it stopped; the parser of the type stripping does. */
const explainSyntax = (error: SyntaxError, url: string): unknown => {
  const stack = error.stack ?? '';
  const located = stack.slice(0, Math.max(0, stack.indexOf(`\n${error.name}`)));
  if (located !== '') return worded(error, `${fileOf(url)} does not load: ${error.message}\n${located}`);
  const path = fileOf(url);
  try {
    stripTypeScriptTypes(readFileSync(path, 'utf8'), { sourceUrl: path });
  } catch (parsed) {
    if (parsed instanceof SyntaxError) return worded(error, `${path} does not parse: ${error.message}${frame(parsed)}`);
  }
  return worded(error, `${path} does not parse: ${error.message}`);
};

const fileOf = (url: string): string => (url.startsWith('file:') ? fileURLToPath(url) : url);
