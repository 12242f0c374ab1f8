/**
 * A shim in memory: writes every order down with its time, tells facts when the test says so, and keeps the order
 * contract of the real one only where the test does. Nothing is answered by itself but that an order was taken.
 */
import type { Shim } from '../../src/daemon/ports.ts';
import type { Fact, ShimMethods } from '../../src/daemon/shim/protocol.ts';
import type { FakeClock } from './fake-clock.ts';

export type Order = {
  readonly [M in keyof ShimMethods]: {
    readonly method: M;
    readonly params: ShimMethods[M]['params'];
    readonly mono: number;
  };
}[keyof ShimMethods];
type OrderOf<M extends keyof ShimMethods> = Extract<Order, { method: M }>;

export type UnnumberedFact = Fact extends infer F ? (F extends Fact ? Omit<F, 'seq' | 'at'> : never) : never;

export class FakeShim implements Shim {
  connected = true;
  /** Another one's after it died. */
  pid: number | null = 100;
  readonly orders: Order[] = [];
  acknowledged = 0;
  /** What an order leads to, at once: an exception refuses it, a promise is what the answer waits for. */
  onOrder: (order: Order) => void | Promise<void> = () => {};
  listener: (facts: readonly Fact[]) => void = () => {};
  readonly #clock: FakeClock;
  #seq = 0;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  get settled(): boolean {
    return this.connected;
  }

  async call<M extends keyof ShimMethods>(
    method: M,
    params: ShimMethods[M]['params'],
  ): Promise<ShimMethods[M]['result']> {
    if (!this.connected) throw new Error('the shim does not answer');
    const order = { method, params, mono: this.#clock.mono() } as Order;
    this.orders.push(order);
    await this.onOrder(order);
    const results = { spawn: {}, release: {}, adopt: {}, signal: { delivered: true }, down: { delivered: true } };
    return (results as Partial<Record<keyof ShimMethods, object>>)[method] as ShimMethods[M]['result'];
  }

  acknowledge(upTo: number): void {
    this.acknowledged = Math.max(this.acknowledged, upTo);
  }

  all<M extends keyof ShimMethods>(method: M): readonly OrderOf<M>[] {
    return this.orders.filter((order): order is OrderOf<M> => order.method === method);
  }

  /** Tells facts, all in one turn. */
  tell(...facts: readonly UnnumberedFact[]): void {
    this.listener(facts.map((fact) => ({ ...fact, seq: ++this.#seq, at: this.#clock.now() }) as Fact));
  }

  get seq(): number {
    return this.#seq;
  }
}
