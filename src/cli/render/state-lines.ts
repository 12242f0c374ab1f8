/** State and results for a person who reads them whole: a value a line, what is nested indented where it is long. Pure. */
import type { Json, JsonObject } from '../../shared/worker.ts';
import { displayWidth, oneLine, valueText } from './text.ts';

const maxDepth = 6;
const indent = '  ';

/** `key = value` lines, at most `most`; then says how many are not shown. */
export const stateLines = (
  state: JsonObject,
  { room, most, whole }: { readonly room: number; readonly most: number; readonly whole: string },
): readonly string[] => {
  const lines = Object.entries(state).flatMap(([key, value]) => linesOf(oneLine(key), value, room, 0));
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), `and ${lines.length - most + 1} more lines; all of it: ${whole}`];
};

const linesOf = (key: string, value: Json, room: number, depth: number): readonly string[] => {
  const line = `${indent.repeat(depth)}${key} = ${valueText(value)}`;
  const nested = typeof value === 'object' && value !== null && Object.keys(value).length > 0;
  if (!nested || displayWidth(line) <= room || depth >= maxDepth) return [line];
  const members: readonly (readonly [string, Json])[] = Array.isArray(value)
    ? (value as readonly Json[]).map((member, index) => [`[${index}]`, member] as const)
    : Object.entries(value as JsonObject).map(([name, member]) => [oneLine(name), member] as const);
  return [
    `${indent.repeat(depth)}${key}`,
    ...members.flatMap(([name, member]) => linesOf(name, member, room, depth + 1)),
  ];
};
