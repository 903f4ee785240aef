"""Values for TensorBoard's plugins: texts, settings (HParams), charts with an interval (custom scalars), animations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launch.output.tensorboard import tensorboardx_module


def text_value(tag: str, text: str) -> Any:
    """Returns a text in Markdown, for the tab Text."""
    tensors, shapes = tensorboardx_module("proto.tensor_pb2"), tensorboardx_module("proto.tensor_shape_pb2")
    content = tensorboardx_module("proto.plugin_text_pb2").TextPluginData(version=0).SerializeToString()
    shape = shapes.TensorShapeProto(dim=[shapes.TensorShapeProto.Dim(size=1)])
    tensor = tensors.TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
    return _value(f"{tag}/text_summary", "text", content, tensor=tensor)


def settings_values(settings: Mapping[str, Any], metrics: Sequence[str], group: str, start_s: float) -> list[Any]:
    """Returns a run's settings, for the tab HParams.

    Args:
        settings: Values by name; those that are not numbers or flags are shown as text.
        metrics: Tags of the figures that runs are compared by.
        group: Name of the run.
        start_s: Clock time at which it began.
    """
    api, plugin = tensorboardx_module("proto.api_pb2"), tensorboardx_module("proto.plugin_hparams_pb2")
    start = plugin.SessionStartInfo(group_name=group, start_time_secs=start_s)
    infos = []
    for name, value in settings.items():
        kind = "STRING"
        if isinstance(value, bool):
            start.hparams[name].bool_value, kind = value, "BOOL"
        elif isinstance(value, int | float):
            start.hparams[name].number_value, kind = float(value), "FLOAT64"
        else:
            start.hparams[name].string_value = str(value)
        infos.append(api.HParamInfo(name=name, type=api.DataType.Value(f"DATA_TYPE_{kind}")))
    names = [api.MetricInfo(name=api.MetricName(tag=tag)) for tag in metrics]
    experiment = api.Experiment(hparam_infos=infos, metric_infos=names, time_created_secs=start_s)
    return [
        _settings_value("experiment", plugin.HParamsPluginData(experiment=experiment)),
        _settings_value("session_start_info", plugin.HParamsPluginData(session_start_info=start)),
    ]


def end_value(has_succeeded: bool, end_s: float) -> Any:
    """Returns the end of a run, for the tab HParams.

    Args:
        has_succeeded: Whether it ended without an error.
        end_s: Clock time at which it ended.
    """
    api, plugin = tensorboardx_module("proto.api_pb2"), tensorboardx_module("proto.plugin_hparams_pb2")
    status = api.Status.Value("STATUS_SUCCESS" if has_succeeded else "STATUS_FAILURE")
    end = plugin.SessionEndInfo(status=status, end_time_secs=end_s)
    return _settings_value("session_end_info", plugin.HParamsPluginData(session_end_info=end))


def interval_charts(title: str, charts: Mapping[str, tuple[str, str, str]]) -> Any:
    """Returns charts of values between bounds, for the tab Custom Scalars.

    Args:
        title: The title above them.
        charts: For each chart's title, the tags of the value, the lower bound and the upper bound.
    """
    layouts = tensorboardx_module("proto.layout_pb2")
    made = [
        layouts.Chart(
            title=name,
            margin=layouts.MarginChartContent(
                series=[layouts.MarginChartContent.Series(value=value, lower=lower, upper=upper)]
            ),
        )
        for name, (value, lower, upper) in charts.items()
    ]
    layout = layouts.Layout(category=[layouts.Category(title=title, chart=made)])
    tensors, shapes = tensorboardx_module("proto.tensor_pb2"), tensorboardx_module("proto.tensor_shape_pb2")
    tensor = tensors.TensorProto(
        dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=shapes.TensorShapeProto()
    )
    return _value("custom_scalars__config__", "custom_scalars", b"", tensor=tensor)


def animation_value(tag: str, gif: bytes, height: int, width: int) -> Any:
    """Returns an animation, for the tab Images.

    Args:
        tag: Its tag.
        gif: The bytes of a GIF.
        height: Height in pixels.
        width: Width in pixels.
    """
    Summary = tensorboardx_module("proto.summary_pb2").Summary
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    return Summary.Value(tag=tag, image=image)


def _settings_value(name: str, data: Any) -> Any:
    return _value(f"_hparams_/{name}", "hparams", data.SerializeToString())


def _value(tag: str, plugin: str, content: bytes, **more: Any) -> Any:
    summaries = tensorboardx_module("proto.summary_pb2")
    data = summaries.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return summaries.Summary.Value(tag=tag, metadata=summaries.SummaryMetadata(plugin_data=data), **more)
