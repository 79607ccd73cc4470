"""Prints a keyed function whose state lives for a minute, as PyFlink pickles it, in base64."""
import base64

import cloudpickle
from pyflink.common import Time
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction
from pyflink.datastream.state import ListStateDescriptor
from pyflink.datastream.state import MapStateDescriptor
from pyflink.datastream.state import StateTtlConfig
from pyflink.datastream.state import ValueStateDescriptor


class Minute(KeyedProcessFunction):
    def open(self, ctx):
        def living(descriptor, update=StateTtlConfig.UpdateType.OnCreateAndWrite):
            descriptor.enable_time_to_live(
                StateTtlConfig.new_builder(Time.minutes(1)).set_update_type(update).never_return_expired().build())
            return descriptor
        self.count = ctx.get_state(living(ValueStateDescriptor('count', Types.LONG())))
        self.first = ctx.get_state(living(ValueStateDescriptor('first', Types.LONG()), StateTtlConfig.UpdateType.OnReadAndWrite))
        self.all = ctx.get_list_state(living(ListStateDescriptor('all', Types.LONG())))
        self.seen = ctx.get_map_state(living(MapStateDescriptor('seen', Types.LONG(), Types.LONG())))
        self.always = ctx.get_state(ValueStateDescriptor('always', Types.LONG()))

    def process_element(self, value, ctx):
        self.count.update((self.count.value() or 0) + 1)
        if self.first.value() is None:
            self.first.update(value[1])
        self.all.add(value[1])
        self.seen.put(value[1], value[1])
        self.always.update((self.always.value() or 0) + 1)
        yield 'count %d first %d all %s seen %s empty %s always %d' % (
            self.count.value(), self.first.value(), list(self.all.get()), sorted(self.seen.keys()), self.seen.is_empty(), self.always.value())


print(base64.b64encode(cloudpickle.dumps(Minute())).decode())
