import { allFaults } from './faults.ts';
import type { HistoryResult } from './history.ts';
import { sceneNames } from './scenes/scenes.ts';

/** Figures over many histories. */
export interface Report {
  add(result: HistoryResult): void;
  /** Seeds that broke an invariant. */
  failed(): number[];
  /** Kinds of fault, and scenes, that fewer than 1 % of the histories had. */
  rareFaults(): string[];
  /** The smallest history there was. */
  least(): { readonly steps: number; readonly backends: number; readonly objects: number };
  text(): string;
}

export function createReport(): Report {
  const startedAt = performance.now();
  const seedsWith = new Map<string, number>();
  const times = new Map<string, number>();
  const violations = new Map<string, number[]>();
  let seeds = 0;
  let steps = 0;
  let simulatedMs = 0;
  let orphans = 0;
  const least = {
    steps: Number.POSITIVE_INFINITY,
    backends: Number.POSITIVE_INFINITY,
    objects: Number.POSITIVE_INFINITY,
  };
  return {
    failed: () => [...violations.values()].flat(),
    rareFaults: () => [...allFaults, ...sceneNames].filter((fault) => (seedsWith.get(fault) ?? 0) < seeds / 100),
    least: () => least,
    add(result) {
      for (const what of ['steps', 'backends', 'objects'] as const) least[what] = Math.min(least[what], result[what]);
      seeds += 1;
      steps += result.steps;
      simulatedMs += result.simulatedMs;
      orphans += result.orphans;
      for (const [fault, count] of result.faults) {
        seedsWith.set(fault, (seedsWith.get(fault) ?? 0) + 1);
        times.set(fault, (times.get(fault) ?? 0) + count);
      }
      if (result.violation === null) return;
      const { invariant } = result.violation;
      violations.set(invariant, [...(violations.get(invariant) ?? []), result.seed]);
    },
    text() {
      const seconds = (performance.now() - startedAt) / 1000;
      const lines = [
        `${seeds} seeds in ${seconds.toFixed(1)} s: ${(seeds / seconds).toFixed(1)} seeds/s, ` +
          `${Math.round(steps / seeds)} steps a seed, ${Math.round(simulatedMs / seeds / 3_600_000)} simulated hours a seed, ${orphans} orphans`,
      ];
      for (const fault of new Set([...allFaults, ...sceneNames, ...seedsWith.keys()])) {
        const share = Math.round((100 * (seedsWith.get(fault) ?? 0)) / seeds);
        lines.push(
          `  ${String(share).padStart(3)} % of seeds  ${String(times.get(fault) ?? 0).padStart(7)} ×  ${fault}`,
        );
      }
      for (const [invariant, failed] of violations)
        lines.push(
          `VIOLATED ${invariant}: ${failed.length} seeds (${failed.slice(0, 12).join(' ')}${failed.length > 12 ? ' …' : ''})`,
        );
      if (violations.size === 0) lines.push('No violation.');
      return lines.join('\n');
    },
  };
}

const lineLimit = 60;

/** A violation with the part of its history that concerns it. */
export function showViolation({ seed, violation, lines, steps }: HistoryResult, isWhole: boolean): string {
  if (violation === null) return `Seed ${seed} holds.`;
  const { invariant, message, key } = violation;
  const concerned = isWhole || key === undefined ? lines : lines.filter((line) => line.includes(key) || isTurn(line));
  const printed = isWhole ? concerned : concerned.slice(-lineLimit);
  return [
    `Seed ${seed} violates "${invariant}" at step ${steps}: ${message}`,
    ...printed,
    `Again, in full: npm run simulate -- --seed ${seed} --trace`,
    '',
  ].join('\n');
}

function isTurn(line: string): boolean {
  return / is killed| is frozen| goes on|accident/.test(line);
}
