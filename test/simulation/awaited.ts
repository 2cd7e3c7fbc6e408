/** Checks and faults that wait for their mend: named in `HOLDFAST_SIM_WITH`, separated by commas, they are played all the same. */
const asked = new Set((process.env.HOLDFAST_SIM_WITH ?? '').split(','));

export type Awaited = 'independence' | 'import of rewritten keys' | 'marks of plain files';

export function isAsked(name: Awaited): boolean {
  return asked.has('all') || asked.has(name);
}
