import { useState } from 'preact/hooks';
import type { CopyFigures, ObjectAnswer, ObjectDetail, VerdictLine, WaitingLine } from '../protocol.ts';
import { act, downloadHref, overview, pathWith } from './api.ts';
import { bytes, now, span, usd, utcTime } from './figures.ts';
import {
  Action,
  Awaited,
  Badge,
  type Column,
  doing,
  Fact,
  type Loaded,
  Name,
  Panel,
  question,
  Table,
  useLoaded,
  When,
} from './parts.tsx';
import { hrefTo, route } from './route.ts';

export function ObjectPage() {
  const key = route.value.name;
  const loaded: Loaded<ObjectAnswer> = useLoaded(pathWith('/api/object', { key }));
  return (
    <>
      <h1 class="key">
        <Name>{key}</Name>
      </h1>
      <Awaited of={loaded}>
        {(answer) => {
          if (answer.outcome === 'found') return <Detail object={answer.object} reload={loaded.reload} key={key} />;
          if (answer.outcome === 'absent') return <p class="empty">There is no such object</p>;
          return (
            <p class="empty">
              It was deleted <When at={answer.deletedAt} />
            </p>
          );
        }}
      </Awaited>
      <Waiting objectKey={key} reload={loaded.reload} key={`${key} ${generationOf(loaded.data)}`} />
    </>
  );
}

function generationOf(answer: ObjectAnswer | undefined): string {
  return answer?.outcome === 'found' ? answer.object.generation : '';
}

/** What was deleted or overwritten, and can be brought back while its bytes wait. */
function Waiting({ objectKey, reload }: { readonly objectKey: string; reload(): void }) {
  const loaded: Loaded<readonly WaitingLine[]> = useLoaded(pathWith('/api/waiting', { key: objectKey }));
  const waiting = loaded.data ?? [];
  if (waiting.length === 0) return null;
  const bringBack = ({ generation, sizeBytes }: WaitingLine) => {
    question.value = {
      title: 'Bring this content back?',
      lines: [`${bytes(sizeBytes)}, generation ${generation}. What the object holds now is overwritten by it.`],
      verb: 'Undelete',
      run: async () => {
        await doing(() => act('undelete', { key: objectKey, generation }));
        reload();
        loaded.reload();
      },
    };
  };
  return (
    <Panel title="Deleted or overwritten, and still there">
      <Table
        caption="Contents that can be brought back"
        columns={[
          { head: 'Left', cell: ({ since }) => <When at={since} /> },
          { head: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
          { head: 'Waits until', cell: ({ until }) => <When at={until} /> },
          { head: 'Generation', cell: ({ generation }) => <code>{generation}</code> },
          { head: 'Action', cell: (one) => <Action run={() => bringBack(one)}>Undelete …</Action> },
        ]}
        rows={waiting}
        none=""
        keyOf={({ generation }) => generation}
      />
    </Panel>
  );
}

function Detail({ object, reload }: { readonly object: ObjectDetail; reload(): void }) {
  const { key, sizeBytes, generation, rev, sha256, keyId, policy, condition, counted, wanted, createdAt, copies } =
    object;
  const [verdicts, setVerdicts] = useState<readonly VerdictLine[]>([]);
  const [isReading, setReading] = useState(false);
  const verify = async () => {
    setReading(true);
    setVerdicts([]);
    const answer = await doing(() => act('scrub', { key }));
    setReading(false);
    if (answer?.outcome === 'done') setVerdicts(answer.verdicts ?? []);
    reload();
  };
  const askToVerify = () => {
    const { isMuch, usd: dollars } = costOfReading(object);
    if (!isMuch) return verify();
    question.value = {
      title: 'Read every copy?',
      lines: [
        `That is ${bytes(sizeBytes)} from each of ${copies.length} backends${dollars > 0 ? `, at most ${usd(dollars)} for egress` : ''}.`,
      ],
      verb: 'Verify',
      run: verify,
    };
  };
  const retry = async () => {
    await doing(() => act('retry', { key }));
    reload();
  };
  const isRefused = condition === 'stuck' || Object.keys(object.reasons).length > 0;
  return (
    <>
      <Panel
        title="Object"
        aside={
          <div class="buttons">
            <a class="button" href={downloadHref(key)} download>
              Download, verified
            </a>
            <Action run={askToVerify}>{isReading ? 'Reading every copy …' : 'Verify now'}</Action>
            {isRefused && <Action run={retry}>Retry</Action>}
          </div>
        }
      >
        {condition === 'damaged' && (
          <p class="problem">
            No copy verified when it was read last. All of them are kept. A download of wrong bytes fails.
          </p>
        )}
        <dl class="facts">
          <Fact name="State">
            {condition === 'sound' ? <Badge tone="good">sound</Badge> : <Badge tone="bad">{condition}</Badge>}
          </Fact>
          <Fact name="Counted copies">
            <Badge tone={counted < wanted || condition === 'damaged' ? 'bad' : 'good'}>
              {counted} of {wanted}
            </Badge>
          </Fact>
          <Fact name="Size">{bytes(sizeBytes)}</Fact>
          <Fact name="Written">{utcTime(createdAt)} UTC</Fact>
          <Fact name="Policy">{policy}</Fact>
          <Fact name="Generation">
            <code>{generation}</code>, rev {rev}
          </Fact>
          <Fact name="SHA-256">{sha256 === undefined ? 'not known yet' : <code>{sha256}</code>}</Fact>
          {keyId !== undefined && (
            <Fact name="Encrypted with">
              <code>{keyId}</code>
            </Fact>
          )}
        </dl>
      </Panel>
      <Panel title="Copies">
        <Table
          caption="Copies"
          columns={copyColumns}
          rows={object.copies}
          none="There is no copy"
          keyOf={({ backend }) => backend}
        />
      </Panel>
      {verdicts.length > 0 && (
        <Panel title="What was read just now">
          <ul class="verdicts">
            {verdicts.map(({ backend, verdict, detail, isGood }) => (
              <li key={backend}>
                {backend}: <Badge tone={isGood ? 'good' : 'bad'}>{verdict}</Badge> {detail}
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </>
  );
}

const muchBytes = 1_000_000_000;
const muchUsd = 0.01;

/** What the reading of every copy comes to, and whether that is worth a question. */
function costOfReading({ sizeBytes, copies }: ObjectDetail): { readonly isMuch: boolean; readonly usd: number } {
  const priceOf = (name: string) => overview.value!.backends.find((one) => one.name === name)?.egressUsdPerGb ?? 0;
  const dollars = copies.reduce((sum, { backend }) => sum + (sizeBytes / 1e9) * priceOf(backend), 0);
  return { isMuch: dollars >= muchUsd || sizeBytes * copies.length >= muchBytes, usd: dollars };
}

/** Records tell a moment after which it was read, not the moment itself. */
function Verified({ of }: { readonly of: CopyFigures['verified'] }) {
  if (of === undefined) return <span class="quiet">not yet</span>;
  const { how, after } = of;
  if (how === 'damaged') return <Badge tone="bad">it did not verify</Badge>;
  const text = after === undefined ? 'not yet' : `within the last ${span((now() - after) / 1000)}`;
  return (
    <span title={after === undefined ? undefined : `after ${utcTime(after)} UTC`}>
      {how === 'written' ? 'as it was written' : text}
      {how === 'owed' && <span class="quiet"> (it could not be read when its turn came, and is tried again)</span>}
    </span>
  );
}

const copyColumns: readonly Column<CopyFigures>[] = [
  { head: 'Backend', cell: ({ backend }) => <a href={hrefTo('backend', backend)}>{backend}</a> },
  {
    head: 'State',
    cell: ({ isCounted, isDraining, breaker, refusal }) => (
      <div class="states">
        {isCounted ? <Badge tone="good">counted</Badge> : <Badge tone="warn">not counted</Badge>}
        {isDraining && <Badge tone="neutral">draining</Badge>}
        {breaker !== 'closed' && <Badge tone="bad">breaker {breaker}</Badge>}
        {refusal !== undefined && (
          <span class="quiet">
            <Name>{refusal}</Name>
          </span>
        )}
      </div>
    ),
  },
  {
    head: 'Written',
    cell: ({ writtenAt, isImported }) => (isImported ? 'imported' : <When at={writtenAt} />),
  },
  { head: 'Verified', cell: ({ verified }) => <Verified of={verified} /> },
  { head: 'Bucket', cell: ({ bucket }) => bucket },
  {
    head: 'Storage key',
    isLong: true,
    cell: ({ storageKey }) => (
      <code>
        <Name>{storageKey}</Name>
      </code>
    ),
  },
];
