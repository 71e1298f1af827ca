"""Public names of the real bindings, so that the fakes cannot have what TensorRT has not.

Read from the sources of TensorRT 10.15 and checked against the list of what version 11 removed:

- https://github.com/NVIDIA/TensorRT/blob/main/python/src/infer/pyCore.cpp
- https://github.com/NVIDIA/TensorRT/blob/main/python/src/infer/pyFoundationalTypes.cpp
- https://github.com/NVIDIA/TensorRT/blob/main/python/src/parsers/pyOnnx.cpp
- https://github.com/NVIDIA/TensorRT/blob/main/python/packaging/bindings_wheel/tensorrt/__init__.py
- https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration/tensorrt-10x-to-11x-python-api-reference.html
- https://nvidia.github.io/cuda-python/cuda-bindings/latest/module/runtime.html
"""

from __future__ import annotations

TENSORRT = {
    "Builder": "create_network create_builder_config create_optimization_profile build_serialized_network "
    "build_serialized_network_to_stream build_engine_with_config is_network_supported logger max_threads "
    "error_recorder reset get_plugin_registry",
    "IBuilderConfig": "avg_timing_iterations engine_capability set_memory_pool_limit get_memory_pool_limit "
    "flags clear_flag set_flag get_flag reset profile_stream add_optimization_profile "
    "num_optimization_profiles profiling_verbosity set_tactic_sources get_tactic_sources "
    "create_timing_cache set_timing_cache get_timing_cache set_preview_feature get_preview_feature "
    "builder_optimization_level max_num_tactics hardware_compatibility_level runtime_platform "
    "max_aux_streams progress_monitor tiling_optimization_level l2_limit_for_tiling",
    "IOptimizationProfile": "set_shape get_shape set_shape_input get_shape_input extra_memory_target",
    "ITimingCache": "serialize combine reset",
    "OnnxParser": "parse parse_with_weight_descriptors parse_from_file supports_operator supports_model "
    "supports_model_v2 num_errors get_error clear_errors flags clear_flag set_flag get_flag",
    "ParserError": "code desc file line func node node_name node_operator local_function_stack",
    "Runtime": "deserialize_cuda_engine logger max_threads temporary_directory load_runtime error_recorder",
    "ICudaEngine": "num_layers serialize create_execution_context num_optimization_profiles num_io_tensors "
    "get_tensor_name get_tensor_mode is_shape_inference_io get_tensor_shape get_tensor_dtype "
    "get_tensor_location get_tensor_profile_shape get_tensor_profile_values create_engine_inspector "
    "hardware_compatibility_level device_memory_size_v2 name profiling_verbosity refittable",
    "IExecutionContext": "profiler engine name active_optimization_profile get_tensor_strides "
    "set_input_shape get_tensor_shape set_tensor_address get_tensor_address set_output_allocator "
    "get_max_output_size infer_shapes execute_async_v3 all_binding_shapes_specified "
    "set_optimization_profile_async enqueue_emits_profile persistent_cache_limit nvtx_verbosity",
    "EngineInspector": "execution_context get_layer_information get_engine_information error_recorder",
    "ILogger": "log Severity",
    "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS "
    "PREFER_JIT_PYTHON_PLUGINS",
    "MemoryPoolType": "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM TACTIC_DRAM "
    "TACTIC_SHARED_MEMORY",
    "HardwareCompatibilityLevel": "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY",
    "ProfilingVerbosity": "LAYER_NAMES_ONLY DETAILED NONE",
    "LayerInformationFormat": "ONELINE JSON",
    "TensorIOMode": "NONE INPUT OUTPUT",
    "DataType": "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8 FP8 INT4 FP4 E8M0",
}
"""Class -> its attributes. `INetworkDefinition` is only handed around."""

MODULE = (*TENSORRT, "nptype", "volume", "INetworkDefinition", "IHostMemory", "Logger")

KEYWORDS = {
    ("Builder", "create_network"): "flags",
    ("Builder", "build_serialized_network"): "network config",
    ("OnnxParser", "parse"): "model path",
    ("OnnxParser", "get_error"): "index",
    ("IBuilderConfig", "set_memory_pool_limit"): "pool pool_size",
    ("IBuilderConfig", "add_optimization_profile"): "profile",
    ("IBuilderConfig", "create_timing_cache"): "serialized_timing_cache",
    ("IBuilderConfig", "set_timing_cache"): "cache ignore_mismatch",
    ("IOptimizationProfile", "set_shape"): "input min opt max",
    ("ICudaEngine", "get_tensor_name"): "index",
    ("ICudaEngine", "get_tensor_mode"): "name",
    ("ICudaEngine", "get_tensor_dtype"): "name",
    ("ICudaEngine", "get_tensor_profile_shape"): "name profile_index",
    ("IExecutionContext", "set_input_shape"): "name shape",
    ("IExecutionContext", "get_tensor_shape"): "name",
    ("IExecutionContext", "set_tensor_address"): "name memory",
    ("IExecutionContext", "execute_async_v3"): "stream_handle",
    ("IExecutionContext", "set_optimization_profile_async"): "profile_index stream_handle",
    ("EngineInspector", "get_engine_information"): "format",
    ("ILogger", "log"): "severity msg",
    ("Runtime", "deserialize_cuda_engine"): "serialized_engine",
}
"""Names of arguments, which may be given by keyword."""

CUDA = {
    "cudaError_t",
    "cudaMemcpyKind",
    "cudaStream_t",
    "cudaGetDeviceCount",
    "cudaGetErrorString",
    "cudaGetErrorName",
    "cudaMalloc",
    "cudaFree",
    "cudaMallocHost",
    "cudaHostAlloc",
    "cudaFreeHost",
    "cudaMemcpy",
    "cudaMemcpyAsync",
    "cudaStreamCreate",
    "cudaStreamDestroy",
    "cudaStreamSynchronize",
}
