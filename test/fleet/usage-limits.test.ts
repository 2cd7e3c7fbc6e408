import { expect, test } from 'vitest';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { chargeOf, dollarsOf, kindOf, periodOf, usageLimitsOf } from '../../lib/fleet/usage-limits.ts';
import { usageOf } from '../support/usage.ts';

const place = { name: 'a', endpoint: 'https://a.example.com', bucket: 'bucket-a', credentials: 'role' };
const backendOf = (fields: object) => parseFleetFile({ backends: [{ ...place, ...fields }] }).backends[0]!;
const at = (text: string) => Date.parse(text);
const times = ({ from, until }: { from: number; until: number }) =>
  [from, until].map((moment) => new Date(moment).toISOString().slice(0, 16));

test.each([
  ['month', 0, 'UTC', '2026-02-10T12:00Z', ['2026-02-01T00:00', '2026-03-01T00:00']],
  ['month', 0, 'UTC', '2026-12-31T23:59Z', ['2026-12-01T00:00', '2027-01-01T00:00']],
  ['day', 0, 'UTC', '2026-02-10T12:00Z', ['2026-02-10T00:00', '2026-02-11T00:00']],
  ['day', 5, 'UTC', '2026-02-10T04:59Z', ['2026-02-09T05:00', '2026-02-10T05:00']],
  ['day', 0, 'America/Los_Angeles', '2026-02-10T07:59Z', ['2026-02-09T08:00', '2026-02-10T08:00']],
  // The day on which the clocks go forward has 23 hours.
  ['day', 0, 'America/Los_Angeles', '2026-03-08T12:00Z', ['2026-03-08T08:00', '2026-03-09T07:00']],
  ['day', 2, 'America/Los_Angeles', '2026-03-08T09:00Z', ['2026-03-07T10:00', '2026-03-08T10:00']],
  // An hour that is left out, or shown twice, east of Greenwich.
  ['day', 2, 'Europe/Berlin', '2026-03-29T00:59Z', ['2026-03-28T01:00', '2026-03-29T01:00']],
  ['day', 2, 'Europe/Berlin', '2026-03-29T01:00Z', ['2026-03-29T01:00', '2026-03-30T00:00']],
  ['day', 2, 'Europe/Berlin', '2026-10-25T00:30Z', ['2026-10-25T00:00', '2026-10-26T01:00']],
  ['day', 0, 'Asia/Beirut', '2026-03-28T22:00Z', ['2026-03-28T22:00', '2026-03-29T21:00']],
  ['month', 0, 'Asia/Kolkata', '2026-01-31T18:29Z', ['2025-12-31T18:30', '2026-01-31T18:30']],
  ['month', 23, 'Pacific/Auckland', '2026-04-01T09:59Z', ['2026-03-01T10:00', '2026-04-01T10:00']],
] as const)(
  'a %s that begins anew at %i h in %s holds %s from %s [usage-classes]',
  (per, resetHour, zone, now, ends) => {
    expect(times(periodOf({ per, resetHour, zone }, at(now)))).toEqual(ends);
  },
);

test('every moment is in exactly one period, and periods follow each other without a gap [usage-classes]', () => {
  for (const zone of ['UTC', 'America/Los_Angeles', 'Europe/Berlin', 'Asia/Kolkata', 'Australia/Lord_Howe'])
    for (const per of ['day', 'month'] as const)
      for (const resetHour of [0, 2, 3, 23]) {
        let { from, until } = periodOf({ per, resetHour, zone }, at('2026-01-15T12:00Z'));
        for (let i = 0; i < 400 && from < at('2027-01-01T00:00Z'); i += 1) {
          expect(periodOf({ per, resetHour, zone }, until - 1)).toEqual({ from, until });
          const next = periodOf({ per, resetHour, zone }, until);
          expect(next.from, `${zone} ${per} ${resetHour}`).toBe(until);
          ({ from, until } = next);
        }
      }
});

test('requests are charged as the provider bills them, unless the backend’s entry says otherwise [usage-classes]', () => {
  const usual = backendOf({}).requestClasses;
  expect(
    ['PutObject', 'UploadPart', 'CopyObject', 'ListObjectsV2', 'GetObject', 'HeadObject', 'DeleteObjects'].map(kindOf),
  ).toEqual(['put', 'put', 'copy', 'list', 'get', 'head', 'delete']);
  expect(chargeOf(usual, 'ListObjectVersions')).toEqual({ requests: 1, classA: 1, classB: 0 });
  expect(chargeOf(usual, 'GetObjectTagging')).toEqual({ requests: 1, classA: 0, classB: 1 });
  expect(chargeOf(usual, 'AbortMultipartUpload')).toEqual({ requests: 1, classA: 0, classB: 0 });
  const other = backendOf({ requestClasses: { put: 'free', delete: 'A' } }).requestClasses;
  expect(chargeOf(other, 'CreateMultipartUpload')).toEqual({ requests: 1, classA: 0, classB: 0 });
  expect(chargeOf(other, 'DeleteObjects')).toEqual({ requests: 1, classA: 1, classB: 0 });
});

test('dollars follow from the prices of a backend, and its limits are those that limit something', () => {
  const backend = backendOf({
    ...{ usdPerMillionA: 4.5, usdPerMillionB: 0.36, egressUsdPerGb: 0.01 },
    ...{ limits: { usd: 2 }, dailyLimits: { classB: 2500 }, limitsReset: { zone: 'America/Los_Angeles' } },
  });
  expect(dollarsOf(backend, usageOf({ classA: 2e6, classB: 1e6, egressBytes: 3e9 }))).toBeCloseTo(9.39, 6);
  expect(usageLimitsOf(backend)).toMatchObject([
    { per: 'month', allows: { usd: 2 }, resetHour: 0, zone: 'America/Los_Angeles' },
    { per: 'day', allows: { classB: 2500 } },
  ]);
  expect(usageLimitsOf(backendOf({}))).toEqual([]);
  expect(() => backendOf({ limitsReset: { zone: 'Mars/Olympus' } })).toThrow(/"Mars\/Olympus" is not the IANA name/);
});
