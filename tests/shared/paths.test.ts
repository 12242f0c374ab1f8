/** Where everything lies: the order in which home and socket are found, and paths that are too long. */
import { describe, expect, it } from 'vitest';
import { WorkerdError } from '../../src/shared/errors.ts';
import { checkSocketPath, resolvePlaces, temporarySocketPath } from '../../src/shared/paths.ts';

const user = { uid: 1000 } as const;
const root = { uid: 0 } as const;

describe('the home', () => {
  it.each([
    { why: '--home', input: { ...user, home: '/a', env: { WORKERD_HOME: '/b' } }, home: '/a' },
    { why: 'WORKERD_HOME', input: { ...user, env: { WORKERD_HOME: '/b', XDG_STATE_HOME: '/c' } }, home: '/b' },
    { why: 'WORKERD_HOME of root', input: { ...root, env: { WORKERD_HOME: '/b' } }, home: '/b' },
    { why: 'root', input: { ...root, env: { XDG_STATE_HOME: '/c' } }, home: '/var/lib/workerd' },
    { why: 'XDG_STATE_HOME', input: { ...user, env: { XDG_STATE_HOME: '/c' } }, home: '/c/workerd' },
    { why: 'an empty --home is none', input: { ...user, home: '', env: { WORKERD_HOME: '/b' } }, home: '/b' },
    {
      why: 'an empty variable is none',
      input: { ...user, env: { WORKERD_HOME: '', XDG_STATE_HOME: '/c' } },
      home: '/c/workerd',
    },
    { why: 'a path is made plain', input: { ...user, home: '/a/./b/../c/', env: {} }, home: '/a/c' },
  ])('$why: $home', ({ input, home }) => expect(resolvePlaces(input).home).toBe(home));

  it('a relative XDG_STATE_HOME is ignored, as its specification says', () => {
    expect(resolvePlaces({ ...user, env: { XDG_STATE_HOME: 'c' } }).home).toMatch(/\/\.local\/state\/workerd$/);
  });

  it('does not depend on XDG_RUNTIME_DIR: a login shell and cron meet the same daemon', () => {
    const login = resolvePlaces({ ...user, env: { XDG_RUNTIME_DIR: '/run/user/1000' } });
    expect(resolvePlaces({ ...user, env: {} })).toEqual(login);
  });

  it('everything but a named socket lies under it', () => {
    const { home, ...rest } = resolvePlaces({ ...user, home: '/a', env: {} });
    for (const path of Object.values(rest)) expect(path.startsWith(`${home}/`)).toBe(true);
  });
});

describe('the socket', () => {
  const env = { WORKERD_SOCKET: '/s.sock', WORKERD_HOME: '/b' };
  it.each([
    { why: '--socket', input: { ...user, socket: '/x.sock', home: '/a', env }, socket: '/x.sock' },
    { why: '--home before WORKERD_SOCKET', input: { ...user, home: '/a', env }, socket: '/a/workerd.sock' },
    { why: 'WORKERD_SOCKET before WORKERD_HOME', input: { ...user, env }, socket: '/s.sock' },
    { why: 'WORKERD_HOME', input: { ...user, env: { WORKERD_HOME: '/b' } }, socket: '/b/workerd.sock' },
    { why: 'root', input: { ...root, env: {} }, socket: '/run/workerd/workerd.sock' },
    { why: 'root with a home', input: { ...root, env: { WORKERD_HOME: '/b' } }, socket: '/b/workerd.sock' },
    { why: 'the default', input: { ...user, env: { XDG_STATE_HOME: '/c' } }, socket: '/c/workerd/workerd.sock' },
  ])('$why: $socket', ({ input, socket }) => expect(resolvePlaces(input).socket).toBe(socket));
});

describe('S12: a socket path over 103 bytes', () => {
  const pathOf = (bytes: number, unit = 'a') => {
    const end = '/workerd.sock';
    return `/${unit.repeat((bytes - 1 - end.length) / Buffer.byteLength(unit))}${end}`;
  };

  it('103 bytes are taken', () => {
    expect(Buffer.byteLength(pathOf(103))).toBe(103);
    expect(() => checkSocketPath(pathOf(103))).not.toThrow();
  });

  it('104 bytes are refused in words: the path, its length, the limit, what to do', () => {
    const refuse = () => checkSocketPath(pathOf(104));
    expect(refuse).toThrow(WorkerdError);
    expect(refuse).toThrow(/workerd\.sock is too long: 104 bytes, at most 103.*--home or --socket/);
  });

  it('bytes count, not characters', () => {
    const path = pathOf(104, 'ü');
    expect(path.length).toBeLessThan(103);
    expect(() => checkSocketPath(path)).toThrow(/104 bytes/);
  });

  it('its temporary name counts too, and lies in the same directory', () => {
    const path = `/${'a'.repeat(98)}/s`;
    expect(temporarySocketPath(path, 'abcdef0123')).toBe(`/${'a'.repeat(98)}/.abcdef`);
    expect(() => checkSocketPath(path)).toThrow(/107 bytes/);
  });
});
