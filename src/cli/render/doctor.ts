/** What `doctor` found, for people: a line each, what to do below what is not well, and the sum. Pure. */
import type { Check, Level } from '../doctor/check.ts';
import { wrap } from '../help.ts';
import type { Colour, Style } from './style.ts';
import { oneLine, pad } from './text.ts';

const colours: Readonly<Record<Level, Colour>> = { ok: 'green', warn: 'yellow', fail: 'red' };
const gap = 2;
/** With less than this beside the names, words go below them. */
const leastRoom = 24;
const narrowIndent = 4;

export interface DoctorOptions {
  readonly style: Style;
  /** Columns of the terminal; `null`: none, and nothing is wrapped. */
  readonly width: number | null;
}

export const doctorText = (checks: readonly Check[], { style, width }: DoctorOptions): string => {
  const levelWidth = 4;
  const nameWidth = Math.max(0, ...checks.map(({ name }) => name.length));
  const beside = levelWidth + gap + nameWidth + gap;
  const isNarrow = width !== null && width - beside < leastRoom;
  const indent = isNarrow ? narrowIndent : beside;
  const room = width === null ? Infinity : Math.max(1, width - indent);
  const arrow = `${style.arrow} `;
  const lines = checks.flatMap(({ name, level, message, advice }) => {
    const head = `${style.paint(colours[level], pad(level, levelWidth))}${' '.repeat(gap)}${pad(name, nameWidth)}`;
    const said = wrap(oneLine(message), room);
    const next = advice === null ? [] : wrap(oneLine(advice), room - arrow.length);
    const below = [
      ...said.slice(isNarrow ? 0 : 1),
      ...next.map((line, index) => style.paint('bold', `${index === 0 ? arrow : ' '.repeat(arrow.length)}${line}`)),
    ].map((line) => `${' '.repeat(indent)}${line}`);
    return [isNarrow ? head.trimEnd() : `${head}${' '.repeat(gap)}${said[0] ?? ''}`.trimEnd(), ...below];
  });
  return `${[...lines, '', sumOf(checks, style)].join('\n')}\n`;
};

const sumOf = (checks: readonly Check[], style: Style): string => {
  const count = (level: Level) => checks.filter((check) => check.level === level).length;
  const [failed, warned] = [count('fail'), count('warn')];
  const warnings = warned === 0 ? '' : `${warned} ${warned === 1 ? 'warning' : 'warnings'}`;
  if (failed > 0) {
    const words = `${failed} ${failed === 1 ? 'thing has' : 'things have'} to be mended${warnings === '' ? '' : `, ${warnings}`}`;
    return style.paint('red', words);
  }
  return warnings === '' ? style.paint('green', 'all is well') : style.paint('yellow', `nothing fails, ${warnings}`);
};
