"""Simulated quantization in torch: fake quantizers, calibration pass, scale tables of a model."""

from speechquant.simulation.fake_quant import fake_quantize
from speechquant.simulation.insert import quantized
from speechquant.simulation.observe import count_magnitudes, observe
from speechquant.simulation.tables import activation_table, weight_table

__all__ = ["activation_table", "count_magnitudes", "fake_quantize", "observe", "quantized", "weight_table"]
