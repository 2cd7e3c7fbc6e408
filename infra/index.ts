/**
 * `holdfast/cdk`: a fleet as constructs of the AWS CDK. `docs/deploy.md` shows them at work.
 */
export type { Actor } from './actors.ts';
export { type AlarmName, alarmNames } from './alarm-names.ts';
export { HoldfastFleet } from './holdfast-fleet.ts';
export { type FleetTables, HoldfastTables, type HoldfastTablesProps, type NamedTables } from './holdfast-tables.ts';
export type { AlarmProps, FunctionSize, HoldfastFleetProps } from './props.ts';
export { HoldfastDataStack, HoldfastWorkersStack } from './stacks.ts';
