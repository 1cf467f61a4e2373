import cv2
import pytest

from lib.data import opencv


def test_one_thread_within_the_block_and_the_previous_number_after_it():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with opencv.single_thread():
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 3
        with pytest.raises(ValueError), opencv.single_thread():
            raise ValueError
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
