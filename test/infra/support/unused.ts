/**
 * Actions of roles that no case of `handlers.test.ts` needs, as `<function> <statement> <action>`, and why each stays.
 * A reason that covers nothing is an error, too.
 */
export const reasons: readonly (readonly [RegExp, string])[] = [
  [/ Logs logs:/, 'The Lambda runtime writes what the handler prints.'],
  [/^importer Events sqs:/, 'Lambda takes messages from the queue on behalf of the function.'],
  [
    /^importer Control dynamodb:DeleteItem$/,
    'Where a file takes longer to read than a tick, the row that says how far it was read ends with its reading.',
  ],
  [
    / List2? s3:ListBucket$/,
    'S3 answers 404 for a key that is not there only to who may list its bucket. Without it, a missing owner object or copy would look like a refusal.',
  ],
  [
    /^(over-replication-cleaner|rebalancer|pending-reaper|importer) Secrets /,
    'A backend with keys of its own is opened when an object there is looked at; in these cases all lay on AWS.',
  ],
  [
    /^cleanup-queue Versions2? s3:ListBucketVersions$/,
    'Asked where a bucket keeps versions: of the two buckets only the other one does.',
  ],
  [
    /^(replicator Parts s3:AbortMultipartUpload|rebalancer (Parts|Uploads2?) s3:(AbortMultipartUpload|ListBucketMultipartUploads))$/,
    'A transfer that is given up, or begun twice, ends its own upload.',
  ],
  [
    /^(replicator|rebalancer) WriteCheck s3:PutObject$/,
    'A target that refuses ten objects in one tick is asked to take a write of ours; in these cases none refuses as many.',
  ],
  [
    /^application Tags s3:PutObjectTagging$/,
    'What an undelete brings back by a copy takes its tags along; in its case it comes back in place.',
  ],
  [/^rebalancer Tags s3:PutObjectTagging$/, 'Objects that move take their tags along; in its case none had any.'],
  [
    /^(replicator|rebalancer) Indexes dynamodb:Query due$/,
    'Transfers that an earlier tick left are looked for only while the ledger counts any; in these cases one tick ends each.',
  ],
  [
    /^reconciler Indexes dynamodb:Query by-placement$/,
    'Asked once all backends were gone through after the tables were lost: the records are put under their labels.',
  ],
  [
    /^apply Indexes dynamodb:Query by-key$/,
    'Keys are walked where a longer prefix leaves less room for them than there was.',
  ],
];
