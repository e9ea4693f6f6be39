"""The mixing desk's exact processors: equaliser, compressor, limiter, panner, delivery.

Processors stream: a block in, a block out, with state between, and the same samples for every size
of block. Levels in dB, times in milliseconds, frequencies in Hz. They stand on the loudness meters
and on the parameters of the plan, and open no files.
"""
