import { expect, test } from 'vitest';
import { systemClock } from '../lib/base/clock.ts';

test('clock', () => expect(systemClock.now()).toBeGreaterThan(0));
