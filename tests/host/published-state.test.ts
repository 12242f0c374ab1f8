import { describe, expect, test } from 'vitest';
import { maxStateBytes, PublishedState } from '../../src/daemon/host/published-state.ts';

const sent = (state: PublishedState): unknown => (JSON.parse(state.pendingLine()) as { state: unknown }).state;

describe('published state', () => {
  test('merges shallowly; null is a value, undefined says nothing', () => {
    const state = new PublishedState();
    state.merge({ a: 1, b: { c: 1 }, d: 'x' });
    state.merge({ a: null, b: { e: 2 }, d: undefined });
    expect(state.view()).toEqual({ a: null, b: { e: 2 }, d: 'x' });
    expect(sent(state)).toEqual({ a: null, b: { e: 2 }, d: 'x' });
  });

  test('sends only what is new, and takes values as they were', () => {
    const state = new PublishedState();
    const list = [1];
    state.merge({ list, a: 1 });
    list.push(2);
    expect(sent(state)).toEqual({ list: [1], a: 1 });
    state.sent();
    state.merge({ a: 2 });
    expect(sent(state)).toEqual({ a: 2 });
  });

  test('what comes from outside is not sent back, and does not undo what was not sent yet', () => {
    const state = new PublishedState();
    state.merge({ a: 1 });
    state.mergeOutside({ a: 'old', b: 2 });
    expect(state.view()).toEqual({ a: 1, b: 2 });
    expect(sent(state)).toEqual({ a: 1 });
  });

  test('of one that has published and heard nothing, nothing is said again', () => {
    expect(new PublishedState().againLine()).toBe(undefined);
  });

  test('said again is what the worker published, and apart from that what it heard: that may be newer elsewhere', () => {
    const state = new PublishedState();
    state.merge({ own: 1, both: 1, back: 1 });
    state.sent();
    state.mergeOutside({ told: 8, both: 'told', back: 'told' });
    state.merge({ back: 2 });
    state.sent();
    expect(JSON.parse(state.againLine() ?? '')).toEqual({
      state: { own: 1, back: 2 },
      heard: { told: 8, both: 'told' },
    });
    // On its way to us when we were asked.
    state.mergeOutside({ told: 9 });
    expect(state.view()).toEqual({ own: 1, both: 'told', back: 2, told: 9 });
    expect(state.dirty).toBe(false);
  });

  test.each([
    ['a function', { ok: 1, bad: () => 1 }, TypeError, /state\.bad: a function is not JSON/],
    ['a BigInt', { ok: 1, bad: 1n }, TypeError, /bigint/],
    ['a BigInt inside', { ok: 1, bad: [1n] }, TypeError, /state\.bad is not JSON/],
    ['too deep', { ok: 1, bad: JSON.parse('['.repeat(40) + ']'.repeat(40)) }, RangeError, /deeper than 32/],
    ['far too deep', { ok: 1, bad: JSON.parse('['.repeat(10_000) + ']'.repeat(10_000)) }, TypeError, /state\.bad/],
    ['too large', { ok: 1, bad: 'x'.repeat(maxStateBytes) }, RangeError, /at most 65536/],
  ])('refuses %s and stays as it was', (_, patch, kind, words) => {
    const state = new PublishedState();
    state.merge({ before: true });
    const attempt = (): void => state.merge(patch);
    expect(attempt).toThrow(kind);
    expect(attempt).toThrow(words);
    expect(state.view()).toEqual({ before: true });
    expect(sent(state)).toEqual({ before: true });
  });

  test('the limit is exact, and room is given back', () => {
    const state = new PublishedState();
    state.merge({ a: 1 });
    const room = maxStateBytes - Buffer.byteLength(JSON.stringify({ a: 1, b: '' }));
    expect(() => state.merge({ b: 'é'.repeat(room / 2 + 1) })).toThrow(RangeError);
    state.merge({ b: 'x'.repeat(room) });
    expect(Buffer.byteLength(JSON.stringify(state.view()))).toBe(maxStateBytes);
    expect(() => state.merge({ a: 10 })).toThrow(RangeError);
    state.merge({ b: '', a: 10 });
    for (let index = 0; index < 1000; index += 1) state.merge({ [`key${index % 10}`]: 'short'.repeat(40) });
    expect(state.view()).toMatchObject({ a: 10, key9: 'short'.repeat(40) });
  });

  test('names of the prototype are names like others', () => {
    const state = new PublishedState();
    state.merge(JSON.parse('{"__proto__":{"x":1},"constructor":1}'));
    expect(Object.keys(state.view())).toEqual(['__proto__', 'constructor']);
    expect(state.pendingLine()).toBe('{"state":{"__proto__":{"x":1},"constructor":1}}');
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  test('the view cannot be changed', () => {
    const state = new PublishedState();
    state.merge({ a: 1 });
    expect(() => Object.assign(state.view(), { a: 2 })).toThrow(TypeError);
  });
});
