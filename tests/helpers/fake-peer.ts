/** A connection whose far end reads or does not. */
import { expect } from 'vitest';
import type { EventType } from '../../src/daemon/subscription.ts';

export class FakePeer {
  backlogged = false;
  readonly sent: string[] = [];
  readonly #listeners = new Set<() => void>();
  send(message: string): void {
    this.sent.push(message);
  }
  /** What came as bytes that were made for many. */
  readonly shared: Buffer[] = [];
  sendLines(lines: Buffer): void {
    if (lines.length > 0) this.shared.push(lines);
    this.sent.push(...lines.toString().split('\n').slice(0, -1));
  }
  kept = 0;
  keep(bytes: number): void {
    this.kept += bytes;
  }
  onDrain(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  /** The far end has read. */
  drain(): void {
    this.backlogged = false;
    for (const listener of [...this.#listeners]) listener();
  }
  get listeners(): number {
    return this.#listeners.size;
  }
  events(): readonly { type: EventType; name: string; cursor: string; [key: string]: unknown }[] {
    return this.sent.map((message) => {
      const { jsonrpc, method, params, ...more } = JSON.parse(message);
      expect({ jsonrpc, method, more }).toEqual({ jsonrpc: '2.0', method: 'event', more: {} });
      return params;
    });
  }
  types(): string {
    return this.events()
      .map(({ type }) => type)
      .join(' ');
  }
}
