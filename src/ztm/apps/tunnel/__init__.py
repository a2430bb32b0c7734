"""The tunnel app: TCP and UDP ports of one endpoint that lead to targets behind another."""
