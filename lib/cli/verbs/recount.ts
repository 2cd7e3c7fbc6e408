import { recount } from '../../operations/recount.ts';
import { bytes, plural, table } from '../format.ts';
import type { VerbGroup } from '../session.ts';

/** `recount`: compares the ledger with what is there. */
export const recountVerbs: VerbGroup = (program, verb) => {
  verb<{ readonly repair?: boolean }>(
    program
      .command('recount')
      .description('count every object and queue item, and compare with the ledger')
      .option('--repair', 'correct the ledger'),
    async (session, _args, { repair }) => {
      const found = await recount(session.process(), repair === true);
      const { differences, isAtRest, repaired } = found;
      const isFine = isAtRest && (differences.length === 0 || repaired === differences.length);
      return { text: describe(found), document: { differences, isAtRest, repaired }, exitCode: isFine ? 0 : 1 };
    },
  );
};

function describe({ differences, isAtRest, repaired }: Awaited<ReturnType<typeof recount>>): string {
  if (!isAtRest) return 'the fleet changed during every count: nothing can be said; pause the workers and try again';
  if (differences.length === 0) return 'the ledger is exact';
  const rows = differences.map(({ row, ledger, counted }) => [
    row,
    ledger.objects,
    bytes(ledger.bytes),
    counted.objects,
    bytes(counted.bytes),
  ]);
  const end = repaired > 0 ? 'repaired' : 'not repaired: --repair does';
  return `${table(['ROW', 'LEDGER', 'SIZE', 'COUNTED', 'SIZE'], rows)}\n\n${plural(differences.length, 'difference')}, ${end}`;
}
