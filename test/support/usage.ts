import { noUsage, type Usage } from '../../lib/base/usage.ts';
import type { Hours } from '../../lib/store/port.ts';

/** All hours of a month, `yyyy-mm`. */
export const inMonth = (month: string): Hours => ({ from: month, to: `${month}~` });

/** What was spent, where all that is not said is zero. */
export const usageOf = (spent: Partial<Usage>): Usage => ({ ...noUsage, ...spent });
