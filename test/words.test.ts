import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Words that the project once had of its own, and the field's word for each. */
const retired: readonly (readonly [RegExp, string])[] = [
  [/(?<!\.)\bslices?\b(?!\()|[a-z]Slice|\bslice[A-Z]/, 'shard'],
  [/\b[Ll]aps?\b|[a-z]Lap(?![a-z])|\blap[A-Z]|_LAP_/, 'scrub cycle'],
  [/\blookAgain\b|\bonLook\b|\blookedAt\b/, 'refresh'],
  [/condemn/i, 'enqueue for deletion'],
  [/\bstrays?\b|[a-z]Stray/i, 'orphan'],
  [/\bdismiss/i, 'quarantine'],
  [/\bbrak(e|es|ed|ing)\b|\bbrake[A-Z]|BRAKE/, 'removal limit'],
  // But for the name of a browser's colours.
  [/(?<!'|light )\bdark(en)?\b|\b(is|go|when|while)Dark\b/i, 'unreachable'],
  [/\bstrangers?\b/i, 'external client'],
  [/\btwins?\b/i, 'in-memory implementation'],
  [/\badopt/i, 'import, or recover'],
  [/\bpersistently\b/, 'retryTransient'],
  [/\blends\b/, 'reusesBuffers'],
  [/\bTakenError\b|\bdeafMs\b|\bboldly\b|\bfrugalTick\b|\bwired\b/, 'what it is'],
  [/[a-z]Persistently\b|\bprobeBackend\b|\blookBehind\b|\bmomentOf\b/, 'what it does'],
  [/\b(?:const|let|function|readonly) (?:there|made|said|shown|moment|lent|look)(?= ?[=(:,;<]| of )/, 'what it holds'],
  [/[({,] ?(?:made|said|shown|moment|lent)\??: |\.(?:made|said|shown|moment)\b(?!\.up)/, 'what it holds'],
  [/['"`]ended as failed: |['"`]failed: all it attempted/, 'failed: every attempted item failed'],
];

function sources(): string[] {
  return ['functions', 'infra', 'lib', 'test'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && entry.name !== 'words.test.ts')
      .map((entry) => join(entry.parentPath, entry.name)),
  );
}

test('code and tests use the words of the field', () => {
  const found = sources().flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, i) =>
        retired
          .filter(([word]) => word.test(line))
          .map(([, instead]) => `${relative(root, file)}:${i + 1}: say "${instead}": ${line.trim().slice(0, 120)}`),
      ),
  );
  expect(found).toEqual([]);
});
