import { defined } from '../../../base/defined.ts';
import { checksumHeader } from '../checksums.ts';
import { assertWriteConditions } from '../conditions.ts';
import { assertObjectSize, assertStillThere, type Context, versionHeader } from '../context.ts';
import { quoted, readObjectHeaders } from '../object-headers.ts';
import { assertSized, type StoredChecksum } from '../payload.ts';
import { emptyReply, type Reply } from '../reply.ts';
import { spool } from '../spool.ts';

/** Conditions are checked before the body, to spare the client the sending, and again in the turn that writes. */
export async function putObject(context: Context): Promise<Reply> {
  const { request, store, faults } = context;
  const bucket = store.bucket(request.bucket);
  const described = readObjectHeaders(request.headers);
  const payload = context.payload();
  assertSized(payload);
  assertObjectSize(context, payload.sizeBytes ?? 0);
  assertWriteConditions(request.headers, bucket.current(request.key));
  const body = await spool(payload.read(), bucket.temporaryPath());
  try {
    assertStillThere(context, bucket);
    assertWriteConditions(request.headers, bucket.current(request.key));
    if (faults.take('drop-metadata')) described.metadata = {};
    const { md5, checksum } = payload.digests();
    const etag = md5.toString('hex');
    const version = bucket.put({ key: request.key, etag, ...described, ...defined({ checksum }) }, body);
    return emptyReply(200, { etag: quoted(etag), ...versionHeader(bucket, version), ...checksumHeaders(checksum) });
  } catch (error) {
    body.discard();
    throw error;
  }
}

export function checksumHeaders(checksum: StoredChecksum | undefined): Record<string, string> {
  if (!checksum) return {};
  return { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type };
}
