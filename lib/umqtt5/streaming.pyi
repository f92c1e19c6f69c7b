from .streaming_receive import receive as receive
from .streaming_send import is_sending as is_sending
from .streaming_send import send as send
