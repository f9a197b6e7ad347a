"""The orchestrator's core: phases, events, manifests, and the state machine. No technology inside.

The files in the order in which an execution meets them: `phases`, `errors`, `settings`, `observability`, `events`, `manifest`,
`references`, `execution` (the pure rules), `state` (the table), `changes` and `bus` (state to events), `target` (the way into an account).
"""
