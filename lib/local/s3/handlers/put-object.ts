import { createHash } from 'node:crypto';
import { defined } from '../../../base/defined.ts';
import { checksumHeader } from '../checksums.ts';
import { assertWriteConditions } from '../conditions.ts';
import { assertObjectSize, assertStillThere, type Context, versionHeader } from '../context.ts';
import { S3Error } from '../errors.ts';
import { quoted, readObjectHeaders } from '../object-headers.ts';
import { assertSized, type Payload, type StoredChecksum } from '../payload.ts';
import { emptyReply, type Reply } from '../reply.ts';
import { spool } from '../spool.ts';

/** Conditions are checked before the body, to spare the client the sending, and again in the turn that writes. */
export async function putObject(context: Context): Promise<Reply> {
  const { request, store, faults } = context;
  const bucket = store.bucket(request.bucket);
  const described = readObjectHeaders(request.headers);
  const whole = context.payload();
  assertSized(whole);
  assertObjectSize(context, whole.sizeBytes ?? 0);
  const payload = faults.take('keep-truncated') ? untilBrokenOff(whole) : whole;
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

/** Takes for the whole what has come when the client goes away. */
function untilBrokenOff(payload: Payload): Payload {
  const md5 = createHash('md5');
  let isWhole = false;
  return {
    sizeBytes: payload.sizeBytes,
    async *read() {
      try {
        for await (const piece of payload.read()) {
          md5.update(piece);
          yield piece;
        }
        isWhole = true;
      } catch (error) {
        if (error instanceof S3Error) throw error;
      }
    },
    digests: () => (isWhole ? payload.digests() : { md5: md5.digest(), checksum: undefined }),
  };
}

export function checksumHeaders(checksum: StoredChecksum | undefined): Record<string, string> {
  if (!checksum) return {};
  return { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type };
}
