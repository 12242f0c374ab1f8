/** The daemon cuts a connection that sends too long a line; so it is said here, with the member that fills it. */
import { WorkerdError } from './errors.ts';
import { limits } from './limits.ts';

/** Throws where the request would be longer than a frame. */
export const checkLength = (method: string, params: object): void => {
  const bytes = bytesOf(method, params) + method.length + 64;
  if (bytes <= limits.maxFrameBytes) return;
  let path = 'params';
  let value: unknown = params;
  while (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const members = Object.entries(value).map(([key, member]) => ({ key, member, bytes: jsonBytes(member) }));
    const largest = members.sort((a, b) => b.bytes - a.bytes)[0];
    if (largest === undefined || largest.bytes < bytes / 2) break;
    path = `${path}.${largest.key}`;
    value = largest.member;
  }
  throw new WorkerdError(
    'usage',
    `${path} is too long: the request has ${bytes} bytes, at most ${limits.maxFrameBytes} can be sent`,
    { member: path },
  );
};

/** Circles and bigints have no form as JSON: a mistake of the caller's, like the others. */
const bytesOf = (method: string, params: object): number => {
  try {
    return jsonBytes(params);
  } catch (error) {
    const why = (error as Error).message.split('\n', 1)[0] ?? '';
    throw new WorkerdError(
      'usage',
      `the params of ${method} are not JSON: ${why}`,
      { member: 'params' },
      { cause: error },
    );
  }
};

const jsonBytes = (value: unknown): number => {
  const text = JSON.stringify(value);
  return text === undefined ? 0 : Buffer.byteLength(text);
};
