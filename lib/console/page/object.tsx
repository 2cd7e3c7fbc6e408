import { useState } from 'preact/hooks';
import type { CopyFigures, ObjectAnswer, ObjectDetail, VerdictLine, WaitingLine } from '../protocol.ts';
import { act, downloadHref, pathWith } from './api.ts';
import { bytes, utcTime } from './figures.ts';
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
  const { key, sizeBytes, generation, rev, sha256, keyId, policy, condition, counted, wanted, createdAt } = object;
  const [verdicts, setVerdicts] = useState<readonly VerdictLine[]>([]);
  const [isReading, setReading] = useState(false);
  const verify = async () => {
    setReading(true);
    const answer = await doing(() => act('scrub', { key }));
    setReading(false);
    if (answer?.outcome === 'done') setVerdicts(answer.verdicts ?? []);
    reload();
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
            <Action run={verify}>{isReading ? 'Reading every copy …' : 'Verify now'}</Action>
            {isRefused && <Action run={retry}>Retry</Action>}
          </div>
        }
      >
        <dl class="facts">
          <Fact name="State">
            {condition === 'sound' ? <Badge tone="good">sound</Badge> : <Badge tone="bad">{condition}</Badge>}
          </Fact>
          <Fact name="Counted copies">
            <Badge tone={counted < wanted ? 'bad' : 'good'}>
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
  { head: 'Verified', cell: ({ verifiedAt }) => <When at={verifiedAt} /> },
  { head: 'Bucket', cell: ({ bucket }) => bucket },
  {
    head: 'Storage key',
    cell: ({ storageKey }) => (
      <code>
        <Name>{storageKey}</Name>
      </code>
    ),
  },
];
