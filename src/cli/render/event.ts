/** One event of `watch` as a line: time, name, what changed. Pure; `null` where there is nothing to say. */
import type { WorkerEvent } from '../../shared/protocol.ts';
import { isAlive, type WorkerView } from '../../shared/worker.ts';
import { endText, isUnready, summaryText } from './cells.ts';
import { phaseColour, type Style } from './style.ts';
import { oneLine, pad, printable, stateText } from './text.ts';

export interface EventOptions {
  readonly style: Style;
  readonly now: number;
  readonly nameWidth: number;
}

export const eventText = (event: WorkerEvent, options: EventOptions): string | null => {
  const { style } = options;
  const said = whatChanged(event, options);
  if (said === null) return null;
  const name = event.type === 'gap' && event.name === '' ? '' : `${pad(oneLine(event.name), options.nameWidth)}  `;
  return `${style.paint('dim', event.at)}  ${name}${said}`;
};

const whatChanged = (event: WorkerEvent, { style, now }: EventOptions): string | null => {
  switch (event.type) {
    case 'snapshot':
    case 'phase':
      return phaseChange(event.worker, event.type === 'snapshot', { style, now });
    case 'state':
      return stateText(event.state);
    case 'ready':
      return 'ready';
    case 'removed':
      return 'removed';
    case 'log':
      return printable(event.line);
    case 'gap':
      // Of an earlier daemon's nobody knows how many: 0 is no count.
      return event.dropped === 0
        ? 'events may be missing here; what follows is the present state'
        : `${event.dropped} events were dropped; what follows is the present state`;
    default:
      return event satisfies never;
  }
};

const phaseChange = (
  view: WorkerView,
  snapshot: boolean,
  { style, now }: Pick<EventOptions, 'style' | 'now'>,
): string => {
  const parts = [style.paint(phaseColour[view.phase], view.phase)];
  if (isAlive(view.phase) && view.phase !== 'backoff') {
    if (view.pid !== null) parts.push(`pid ${view.pid}`);
    if (snapshot) parts.push(summaryText(view, { style, now }));
    else if (isUnready(view)) parts.push('not ready yet');
  } else parts.push(view.phase === 'backoff' ? endText(view, now) : summaryText(view, { style, now }));
  return parts.filter((part) => part !== '').join('  ');
};
