import { resultOfBulk } from '../bulk.ts';
import { UsageError } from '../failure.ts';
import { assertSome, beginningWith, isPattern, matching } from '../select-keys.ts';
import { type Arguments, fleetNow, type Result, type Session, type VerbGroup } from '../session.ts';

interface ExportFlags {
  readonly backend?: string;
  readonly endpoint?: string;
  readonly region?: string;
}

/** `export`: out, under plain names. */
export const exportVerbs: VerbGroup = (program, verb) => {
  verb<ExportFlags>(
    program
      .command('export <prefix> <target>')
      .description(
        'copy objects out under their plain names, verified, into a folder or s3://bucket/prefix, with a manifest',
      )
      .option('--backend <name>', 'reach the bucket as this backend is reached; what it holds is copied by its storage')
      .option('--endpoint <url>', 'of the bucket, where it is neither AWS nor a backend’s')
      .option('--region <region>', 'of the bucket [AWS_REGION]'),
    exportObjects,
  );
};

async function exportObjects(session: Session, [prefix, target]: Arguments, flags: ExportFlags): Promise<Result> {
  const isBucket = target!.startsWith('s3://');
  if (!isBucket && Object.keys(flags).some((name) => ['backend', 'endpoint', 'region'].includes(name)))
    throw new UsageError('--backend, --endpoint and --region say where a bucket is; a folder has none of them');
  await fleetNow(session);
  const selection = isPattern(prefix!) ? matching(prefix!) : beginningWith(prefix!);
  // Everything may be nothing; a name that names nothing is a mistake.
  if (prefix !== '') await assertSome(session.client(), selection, prefix!);
  const { runExport } = await import('../export-work.ts');
  const place = isBucket
    ? await (await import('../export-bucket.ts')).bucketTarget(session, target!, flags)
    : await (await import('../export-folder.ts')).folderTarget(session, target!);
  const bulk = await runExport(session, selection, place);
  return resultOfBulk('exported', bulk, { target });
}
