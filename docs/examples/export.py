import onnxruntime

from unlikelihood import Digits, PCAResidual

split = Digits(anomalous=(9,)).split()
detector = PCAResidual(20).fit(split.train.pixels).calibrate(split.calibration.pixels)
print(detector.export("digits.onnx", alpha=0.1))

session = onnxruntime.InferenceSession("digits.onnx")  # where it runs, this package is not needed
score, p_value, decision = session.run(None, {"samples": split.test.pixels[:5]})
print(score, p_value, decision, sep="\n")
print(session.get_modelmeta().custom_metadata_map["decision"])
