/** Lets work in by bytes in flight; an item larger than the whole allowance goes in alone. */
export interface Admission {
  /** Resolves when the bytes fit; the returned function gives them back. */
  enter(bytes: number): Promise<() => void>;
  /** How often an item had to wait. */
  readonly rejections: number;
}

export function createAdmission(maxBytes: number, rejected: () => void = () => {}): Admission {
  let inFlight = 0;
  let rejections = 0;
  const waiting: { bytes: number; go: () => void }[] = [];
  const fits = (bytes: number) => inFlight === 0 || inFlight + bytes <= maxBytes;
  const leave = (bytes: number) => {
    inFlight -= bytes;
    while (waiting.length > 0 && fits(waiting[0]!.bytes)) {
      const next = waiting.shift()!;
      inFlight += next.bytes;
      next.go();
    }
  };
  return {
    get rejections() {
      return rejections;
    },
    async enter(bytes) {
      if (waiting.length === 0 && fits(bytes)) {
        inFlight += bytes;
      } else {
        rejections += 1;
        rejected();
        await new Promise<void>((go) => waiting.push({ bytes, go }));
      }
      let isOut = false;
      return () => {
        if (!isOut) leave(bytes);
        isOut = true;
      };
    },
  };
}
