import { always, field, first, instead, variable, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Backends that leave the file, drain, or are said to be elsewhere, while others are at work on them. */
export const placesMutants: readonly Mutant[] = [
  { name: 'a put is acknowledged without a last look at the fleet', edits: [first('secure', 'return;')] },
  {
    name: 'how old the fleet is by which a put is acknowledged is not looked at',
    // Either alone is enough: a record that was read before the fleet is as old as the fleet.
    edits: [
      instead('freshFleet', ['readAt', 'fleetLifeMs'], 'true'),
      withoutOperand('secure', 'known', 'at', 'fleetLifeMs'),
    ],
  },
  {
    name: 'a further copy of a put joins whatever content is there by then',
    edits: [variable('joinRecord', 'own', 'outcome.seen')],
  },
  { name: 'a backend that leaves the file is out of it at once', edits: [always('putInForce', 'every')] },
  {
    name: 'a backend leaves the file with whatever it was given last',
    edits: [withoutGuard('putInForce', 'mayPark')],
  },
  {
    name: 'nobody asks who takes copies before a commit',
    edits: [first('admit', 'return { settled: [], live: group, until: Infinity };')],
  },
  {
    name: 'a move is recorded however long ago it was asked who takes copies',
    edits: [instead('admit', ['askedAt', 'giveWithinMs'], 'Infinity')],
  },
  {
    name: 'what a drain left rejoins whatever content is there by then',
    edits: [withoutOperand('mayRejoin', 'generation', 'item')],
  },
  { name: 'bytes of a drain that is over are deleted all the same', edits: [withoutGuard('decide', 'drain-over')] },
  { name: 'undrain leaves what was claimed to itself', edits: [variable('settle', 'settleMs', '0')] },
  { name: 'what is claimed rejoins its object', edits: [field('endItems', 'wasClaimed', 'false')] },
  {
    name: 'an emptied bucket answers, so it is healthy',
    edits: [first('failHealthCheck', 'return;')],
  },
  { name: 'a name may move to another place', edits: [first('movedPlaces', 'return [];')] },
  {
    name: 'a drain is said to be done as soon as it is found empty',
    edits: [instead('drainStatus', ['closingMs'], '0')],
  },
];
