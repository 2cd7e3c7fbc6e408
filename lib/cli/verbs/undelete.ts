import { bytes, escaped, quoted, table, timestamp } from '../format.ts';
import type { Arguments, Result, Session, VerbGroup } from '../session.ts';

interface Flags {
  readonly generation?: string;
  readonly list?: boolean;
}

/** `undelete`: what was deleted or overwritten, while its bytes wait for their deletion. */
export const undeleteVerbs: VerbGroup = (program, verb) => {
  verb<Flags>(
    program
      .command('undelete <key>')
      .description('bring back what was deleted or overwritten, while its bytes wait (deleteGraceHours of its policy)')
      .option('--generation <generation>', 'which of those that wait [the one that left last]')
      .option('--list', 'show those that wait, and until when; nothing comes back'),
    undelete,
  );
};

async function undelete(session: Session, [key]: Arguments, { generation, list }: Flags): Promise<Result> {
  const client = session.client();
  if (list === true) return listed(key!, await client.undeletable(key!));
  session.ifBrokenOff(
    `Whether "${escaped(key!)}" is back, \`${escaped(['holdfast', 'locate', quoted(key!)].join(' '))}\` says; nothing is lost if it is not: undelete it again`,
  );
  const done = await client.undelete(key!, generation === undefined ? {} : { generation });
  const text = `undeleted ${escaped(done.key)}  ${bytes(done.sizeBytes)}  generation ${done.undeleted}, now ${done.generation}`;
  return { text, document: done };
}

function listed(key: string, waiting: Awaited<ReturnType<ReturnType<Session['client']>['undeletable']>>): Result {
  const rows = waiting.map((one) => [one.generation, bytes(one.sizeBytes), timestamp(one.since), timestamp(one.until)]);
  const text =
    rows.length === 0
      ? `nothing of ${escaped(key)} waits for its deletion`
      : table(['GENERATION', 'SIZE', 'LEFT (UTC)', 'WAITS UNTIL (UTC)'], rows);
  return { text, document: { key, waiting } };
}
