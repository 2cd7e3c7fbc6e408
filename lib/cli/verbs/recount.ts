import { type Recounted, recount } from '../../operations/recount.ts';
import { bytes, plural, table } from '../format.ts';
import type { VerbGroup } from '../session.ts';

/** `recount`: compares the ledger with what is there. */
export const recountVerbs: VerbGroup = (program, verb) => {
  verb<{ readonly repair?: boolean }>(
    program
      .command('recount')
      .description('count every object and queue item, and compare with the ledger')
      .option('--repair', 'correct the ledger, where a second count a minute later agrees'),
    async (session, _args, { repair }) => {
      const found = await recount(session.process(), repair === true);
      const { differences, moved, repaired } = found;
      const isFine = moved.length === 0 && repaired === differences.length;
      return { text: describe(found), document: { differences, moved, repaired }, exitCode: isFine ? 0 : 1 };
    },
  );
};

function describe({ differences, moved, repaired }: Recounted): string {
  const movement =
    moved.length === 0
      ? ''
      : `${plural(moved.length, 'total')} could not be compared, because they moved while they were counted: ${moved.join(', ')}; run it again`;
  if (differences.length === 0) return movement === '' ? 'the ledger is exact' : movement;
  const rows = differences.map(({ row, ledger, counted }) => [
    row,
    ledger.objects,
    bytes(ledger.bytes),
    counted.objects,
    bytes(counted.bytes),
  ]);
  const end = repaired > 0 ? `${repaired} repaired` : 'not repaired: --repair does';
  const rowsTable = table(['ROW', 'LEDGER', 'SIZE', 'COUNTED', 'SIZE'], rows);
  return [rowsTable, `${plural(differences.length, 'difference')}, ${end}`, movement]
    .filter((part) => part !== '')
    .join('\n\n');
}
